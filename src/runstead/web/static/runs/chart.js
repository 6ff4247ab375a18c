// The chart above the list of runs. The sentence below it and a table contain the same numbers.
(() => {
  "use strict";

  const part = document.getElementById("chart"), place = document.getElementById("plot");
  const caption = document.getElementById("chart-summary");
  const statuses = ["completed", "failed", "cancelled", "running", "waiting", "pending"];
  const refresh_ms = 5000;
  let plot = null, data = null;

  // Colours come from the stylesheet, which may change them.
  const colour = (name) => getComputedStyle(part.querySelector(`[data-series=${name}]`)).color;
  const quiet = () => getComputedStyle(caption).color;
  const faint = () => getComputedStyle(part).borderTopColor;

  function length(ms) {
    if (ms === null || ms === undefined) return "—";
    if (ms < 1000) return `${Number(ms.toFixed(1))} ms`;
    const s = ms / 1000;
    if (s < 60) return `${Number(s.toFixed(1))} s`;
    if (s < 3600) return `${Number((s / 60).toFixed(1))} min`;
    return s < 172800 ? `${Number((s / 3600).toFixed(1))} h` : `${Number((s / 86400).toFixed(1))} d`;
  }
  const timed = () => data.p95_ms.some((one) => one !== null);
  const moment = (ms, seconds) => new Date(ms).toISOString().slice(0, seconds ? 19 : 16).replace("T", " ");

  // At the start of a day, the axis shows its date.
  function day(at, n, step) {
    const begins = at[n] % 86_400 === 0 && (step < 86_400 ? n > 0 : true);
    return begins ? moment(at[n] * 1000).slice(5, 10) : undefined;
  }

  // Bars are stacked: each series is a running sum, and the highest is drawn first.
  function columns(found) {
    const per_minute = 60_000 / found.width_ms, sums = [];
    let below = found.begins_at.map(() => 0);
    for (const status of statuses) {
      below = below.map((sum, n) => sum + found.counts[status][n] * per_minute);
      sums.unshift(below);
    }
    const middle = found.begins_at.map((at) => (at + found.width_ms / 2) / 1000);
    return [middle, ...sums, found.p50_ms, found.p95_ms];
  }

  function make() {
    plot?.destroy();
    const small = part.clientWidth < 600, font = "11px system-ui, sans-serif";
    const axis = (more) => ({stroke: quiet(), font, grid: {stroke: faint(), width: 1}, ticks: {show: false}, ...more});
    const bar = (status) => ({label: status, scale: "y", fill: colour(status), stroke: colour(status), width: 0,
      paths: uPlot.paths.bars({size: [0.85, 40], gap: 0}), points: {show: false}});
    const line = (name, dash) => ({label: name, scale: "ms", stroke: colour(name), width: 1.5, dash, spanGaps: true,
      points: {show: true, size: 4, fill: colour(name)}});
    plot = new uPlot({
      width: part.clientWidth - 24, height: small ? 130 : 170, legend: {show: false},
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: {time: true, range: () => [data.since / 1000, (data.begins_at.at(-1) + data.width_ms) / 1000]},
        y: {range: (_, __, max) => [0, Math.max(max * 1.1, 1)]},
        ms: {range: (_, __, max) => [0, Math.max((max ?? 0) * 1.15, 10)]},
      },
      axes: [
        axis({space: 70, size: 24, values: (_, at, __, ___, step) => at.map((one, n) => day(at, n, step) ?? moment(one * 1000).slice(11))}),
        axis({scale: "y", size: small ? 34 : 44, space: 30}),
        axis({scale: "ms", side: 1, size: small ? 46 : 56, space: 30, grid: {show: false}, values: (_, at) => at.map((one) => (timed() ? length(one) : ""))}),
      ],
      series: [{}, ...[...statuses].reverse().map(bar), line("p50", []), line("p95", [5, 3])],
      cursor: {y: false, points: {show: false}, drag: {x: true, y: false, setScale: false}},
      hooks: {
        setSelect: [(u) => {
          if (u.select.width < 5) return;
          const at = (pixels) => Math.round(u.posToVal(pixels, "x")) * 1000;
          zoom(at(u.select.left), at(u.select.left + u.select.width));
        }],
        setCursor: [(u) => describe(u.cursor.idx)],
      },
    }, columns(data), place);
  }

  // The dragged range becomes From and To of the list.
  function zoom(since, until) {
    const address = new URL(location.href);
    for (const name of ["cursor", "trail"]) address.searchParams.delete(name);
    address.searchParams.set("since", new Date(since).toISOString().slice(0, 19));
    address.searchParams.set("until", new Date(Math.max(until, since + 1000)).toISOString().slice(0, 19));
    location.assign(address);
  }

  function describe(at) {
    const begins = data.begins_at[at];
    if (at === null || at === undefined || begins === undefined) {
      caption.textContent = data.summary;
      return;
    }
    const fine = data.width_ms % 60_000 !== 0;
    const counts = statuses.filter((one) => data.counts[one][at]).map((one) => `${data.counts[one][at]} ${one}`);
    const took = data.p50_ms[at] === null ? "" : ` · p50 ${length(data.p50_ms[at])}, p95 ${length(data.p95_ms[at])}`;
    caption.textContent = `${moment(begins, fine)} to ${moment(begins + data.width_ms, fine).slice(11)} UTC: `
      + (counts.join(", ") || "no run") + took;
  }

  let under_way = false, fetched_at = 0, timer = null;
  async function load() {
    if (under_way || part.hidden) return;
    under_way = true;
    fetched_at = Date.now();
    try {
      const answer = await fetch(part.dataset.address, {headers: {Accept: "application/json"}});
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      data = await answer.json();
      if (plot && plot.cursor.left < 0 || !plot) caption.textContent = data.summary;
      if (plot) plot.setData(columns(data));
      else make();
      part.dataset.drawn = fetched_at;
    } catch (error) {
      caption.textContent = `The chart could not be loaded (${error.message}): reload the page.`;
    } finally {
      under_way = false;
    }
  }
  // At most every 5 seconds, and not in a hidden tab.
  function stale() {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      if (!document.hidden) load();
      else document.addEventListener("visibilitychange", stale, {once: true});
    }, Math.max(0, fetched_at + refresh_ms - Date.now()));
  }

  load();
  document.addEventListener("runstead:news", stale);
  const redraw = () => data && make();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("runstead:theme", redraw);
  let width = part.clientWidth;
  new ResizeObserver(() => {
    if (part.clientWidth === width) return;
    width = part.clientWidth;
    redraw();
  }).observe(part);
})();
