// The chart of one topic: stories per day, stacked by polarity, with the days of its alerts marked. A day opens on click.
(() => {
  "use strict";
  const place = document.querySelector("[data-trend]");
  if (!place) return;
  const own = document.querySelector("script[data-chart-script]").dataset;
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const COLOURS = { negative: "--t-negative", neutral: "--t-neutral", positive: "--t-positive" };
  const DAY_S = 86400;

  const load = () => window.uPlot ? Promise.resolve() : new Promise((resolve, reject) => {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: own.chartStyle });
    const script = Object.assign(document.createElement("script"), { src: own.chartScript, onload: resolve, onerror: reject });
    document.head.append(style, script);
  });

  // each series on top of those before it; the highest is drawn first, so that the lower ones stay visible
  const stacked = (series) => {
    let below = series[0].values.map(() => 0);
    return series.map((item) => (below = item.values.map((value, i) => value + below[i])));
  };

  const marks = (data) => (plot) => {
    const { ctx } = plot, ratio = devicePixelRatio;
    ctx.save();
    ctx.fillStyle = ctx.strokeStyle = colour("--m-bad");
    ctx.lineWidth = ratio;
    for (const alert of data.alerts) {
      const x = Math.round(plot.valToPos(alert.at - alert.at % DAY_S, "x", true)), top = plot.bbox.top;
      ctx.globalAlpha = 0.35;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath(); ctx.moveTo(x, top + 6 * ratio); ctx.lineTo(x, top + plot.bbox.height); ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.beginPath(); ctx.arc(x, top + 2 * ratio, 4.5 * ratio, 0, 2 * Math.PI); ctx.fill();
    }
    ctx.restore();
  };

  const draw = (data) => {
    place.chart?.destroy();
    const soft = colour("--m-soft"), line = colour("--m-line");
    const axis = { stroke: soft, grid: { show: false }, ticks: { show: false }, font: "12px system-ui" };
    const bars = uPlot.paths.bars({ size: [0.68, 34], radius: 0.12 });
    const heights = stacked(data.series);
    const series = data.series.map((item) => {
      const fill = colour(COLOURS[item.name]);
      return { label: item.label, fill, stroke: fill, width: 0, paths: bars, points: { show: false }, value: (u, v, s, i) => (i == null ? "–" : item.values[i]) };
    });
    const dates = new Intl.DateTimeFormat(root.lang, { day: "numeric", month: "short", timeZone: "UTC" });
    const named = (seconds) => dates.format(new Date(seconds * 1000));
    place.chart = new uPlot({
      width: place.clientWidth || 600, height: 260, padding: [10, 8, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: { range: (u, low, high) => [low - DAY_S * 0.7, high + DAY_S * 0.7] }, y: { range: (u, low, high) => [0, Math.max(4, Math.ceil(high * 1.12))] } },
      cursor: { y: false, points: { show: false } }, legend: { live: true },
      axes: [
        { ...axis, values: (u, ticks) => ticks.map(named), space: 70, size: 32 },
        { ...axis, grid: { stroke: line, width: 1 }, size: 36, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
      ],
      series: [{ label: data.labels.day, value: (u, v) => (v == null ? "–" : named(v)) }, ...series.toReversed()],
      hooks: { draw: [marks(data)] },
    }, [data.x, ...heights.toReversed()], place);
    place.chart.over.addEventListener("click", () => {
      const index = place.chart.cursor.idx;
      if (index == null) return;
      const query = place.dataset.keep.replace(/^&/, "?");
      htmx.ajax("GET", place.dataset.day + data.days[index] + query, { target: "#day", swap: "innerHTML" });
    });
  };

  const start = async () => {
    const [answer] = await Promise.all([fetch(place.dataset.trend, { headers: { Accept: "application/json" } }), load()]);
    if (!answer.ok) { place.textContent = String(answer.status); return; }
    const data = await answer.json();
    draw(data);
    new MutationObserver(() => draw(data)).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(data));
    let pause;
    addEventListener("resize", () => {
      clearTimeout(pause);
      pause = setTimeout(() => place.chart.setSize({ width: place.clientWidth, height: 260 }), 120);
    });
  };
  start();
})();
