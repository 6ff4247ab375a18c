"""The style of the documentation page."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --dim: #59636e; --paper: #ffffff; --wash: #f5f6f8; --line: #d9dde3; --link: #0b57b8;
  --get: #0a5c9c; --post: #1a6b34; --put: #8a4b00; --delete: #ab1f2b; --mark: #fff3c4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ed; --dim: #9aa5b1; --paper: #14171b; --wash: #1d2127; --line: #343a43; --link: #7db7ff;
    --get: #79b8ff; --post: #7ed69a; --put: #f0b26b; --delete: #ff9097; --mark: #4a3f12;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; }
header, main, nav { padding: 1rem; }
header { border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.6rem; }
h1 small { color: var(--dim); font-weight: 400; font-size: 1rem; }
header p { margin: .25rem 0 0; color: var(--dim); }
h2 { margin: 3rem 0 1rem; font-size: 1.4rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
section:first-child h2 { margin-top: 0; }
h3 { margin: 0 0 .5rem; font-size: 1.05rem; font-weight: 600; }
h3 a { color: inherit; text-decoration: none; }
h3 a:hover { text-decoration: underline; }
h4, caption { margin: 1rem 0 .3rem; font-size: .85rem; font-weight: 600; color: var(--dim); text-align: left; }
a { color: var(--link); }
a:focus-visible, pre:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
code { font: .9em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem 1rem; background: var(--wash); border-radius: 6px; }
pre code { overflow-wrap: normal; }
pre i { color: var(--dim); font-style: normal; }
article { margin: 0 0 1.25rem; padding: 1rem; border: 1px solid var(--line); border-radius: 8px; }
article p { margin: .4rem 0; max-width: 46rem; }
main > section > p, main > section > ul { max-width: 46rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--paper); z-index: 1; }
.method { display: inline-block; min-width: 4.4em; flex: none; font: 700 .75rem/1.4 ui-monospace, Menlo, Consolas, monospace; }
.get { color: var(--get); } .post { color: var(--post); }
.put, .patch { color: var(--put); } .delete { color: var(--delete); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav > ul > li { margin: .4rem 0; font-weight: 600; }
nav li li { font-weight: 400; font-size: .8rem; }
nav a { display: block; padding: .2rem .4rem; border-radius: 4px; color: inherit; text-decoration: none; }
nav a:hover { background: var(--wash); text-decoration: underline; }
nav li li a { display: flex; gap: .3rem; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9rem; }
th, td { padding: .45rem .75rem .45rem 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border: 0; color: var(--dim); font-weight: 400; font-size: .8rem; padding-block: .1rem; }
tbody th { width: 32%; font-weight: 400; }
tbody td:nth-child(2) { width: 26%; }
.required { color: var(--delete); font-size: .75rem; font-weight: 600; }
.where, .limits { color: var(--dim); font-size: .85em; overflow-wrap: anywhere; }
.answers { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .9rem; margin: 0; font-size: .85rem; }
.answers dt { font-weight: 600; font-variant-numeric: tabular-nums; }
.answers dd { margin: 0; }
.answers a { display: inline-block; margin-right: .5rem; }
:target { background: var(--mark); }
@media (min-width: 64rem) {
  .columns { display: grid; grid-template-columns: 21rem minmax(0, 1fr); max-width: 86rem; }
  nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; border-right: 1px solid var(--line); }
  main { padding: 1.5rem 2rem 6rem; }
}
@media (max-width: 63.99rem) {
  nav { border-bottom: 1px solid var(--line); padding-block: .5rem; }
  nav > ul { display: flex; flex-wrap: wrap; gap: .1rem .6rem; }
  nav > ul > li { margin: 0; font-weight: 400; }
  nav > ul > li > a { color: var(--link); padding: .35rem .3rem; }
  nav ul ul { display: none; }
  main { padding-top: 1.5rem; }
}
@media (max-width: 40rem) {
  article { padding: .75rem; }
  thead { position: absolute; left: -99rem; }
  table, tbody, tr, th, td { display: block; width: auto; }
  tbody th, tbody td, tbody td:nth-child(2) { width: auto; border: 0; padding: .05rem 0; }
  tbody tr { border-top: 1px solid var(--line); padding: .45rem 0; }
}
"""
