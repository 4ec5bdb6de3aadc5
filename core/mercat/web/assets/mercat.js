// The little that pages need besides htmx: theme, CSRF header, threads, charts. No inline code anywhere.
(() => {
  "use strict";
  const root = document.documentElement;
  const own = document.currentScript.dataset;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  try {
    const kept = localStorage.getItem("mercat-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* storage may be closed to us inside a frame */ }

  const switchTheme = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("mercat-theme", root.dataset.theme); } catch { /* as above */ }
    document.querySelectorAll("[data-chart]").forEach(draw);
  };

  const csrfToken = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

  const toEnd = (thread) => { thread.scrollTop = thread.scrollHeight; };

  // charts ------------------------------------------------------------------------------------------------
  let charting = null;
  const loadCharts = () => charting ??= new Promise((resolve, reject) => {
    const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: own.chartStyle });
    const script = Object.assign(document.createElement("script"), { src: own.chartScript, onload: resolve, onerror: reject });
    document.head.append(style, script);
  });

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const COLOURS = ["--m-accent", "--m-warn", "--m-info", "--m-bad", "--m-good"];

  async function draw(place) {
    const [answer] = await Promise.all([fetch(place.dataset.chart, { headers: { Accept: "application/json" } }), loadCharts()]);
    if (!answer.ok) { place.textContent = `${answer.status}`; return; }
    const data = await answer.json();
    const soft = colour("--m-soft"), line = colour("--m-line");
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const series = data.series.map((item, i) => {
      const stroke = colour(COLOURS[i % COLOURS.length]);
      return { label: item.label, stroke, width: 2, points: { show: data.x.length < 2 }, fill: data.series.length === 1 ? stroke + "1f" : undefined };
    });
    place.chart?.destroy();
    place.chart = new uPlot({
      width: place.clientWidth || 600, height: Number(place.dataset.height) || 240,
      cursor: { y: false }, legend: { live: true }, axes: [axis, { ...axis, size: 54 }], series: [{}, ...series],
    }, [data.x, ...data.series.map((item) => item.values)], place);
  }

  // questions to a service, from its page -------------------------------------------------------------------
  async function ask(form) {
    const shown = document.querySelector(form.dataset.answer);
    const button = form.querySelector("button");
    let body;
    try {
      body = JSON.stringify(JSON.parse(form.elements.request.value));
    } catch (error) { shown.textContent = String(error); shown.hidden = false; return; }
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.ask, {
        method: "POST", body, headers: { "Content-Type": "application/json", "X-CSRF-Token": csrfToken() },
      });
      shown.textContent = JSON.stringify(await answer.json(), null, 2);
    } catch (error) { shown.textContent = String(error); }
    button.removeAttribute("aria-busy");
    shown.hidden = false;
  }

  // wiring --------------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => { if (event.target.closest("[data-theme-switch]")) switchTheme(); });
  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-ask]")) { event.preventDefault(); ask(event.target); }
  });
  document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx?.request;
    if (request) request.headers["X-CSRF-Token"] = csrfToken();
  });
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-chart]").forEach(draw);
    document.querySelectorAll("[data-thread]").forEach((thread) => {
      toEnd(thread);
      new MutationObserver(() => toEnd(thread)).observe(thread, { childList: true, subtree: true, characterData: true });
    });
    let pause;
    addEventListener("resize", () => {
      clearTimeout(pause);
      pause = setTimeout(() => document.querySelectorAll("[data-chart]").forEach((place) => {
        place.chart?.setSize({ width: place.clientWidth, height: Number(place.dataset.height) || 240 });
      }), 120);
    });
  });
})();
