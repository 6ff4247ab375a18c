// The `type` of a problem is `/docs#CODE`: shows the description of the code.
"use strict";

if (/^#[A-Z][A-Z_]+$/.test(location.hash)) {
  location.replace("errors/" + location.hash);
}
