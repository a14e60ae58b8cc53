"use strict";
// Charts by Plotly, in the page's own colours; drawn when they come into sight. Plotly is most of what
// a browser has to load, so it is asked for with the first chart: all runs are shown without it.

const Charts = (() => {
  const drawn = new Map(); // element: what it shows
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      seen.unobserve(entry.target);
      const kept = drawn.get(entry.target);
      if (kept) { kept.isSeen = true; draw(entry.target); }
    }
  }, { rootMargin: "300px" });
  const isNarrow = matchMedia("(pointer: coarse)");

  const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLOURS = 6;
  const colour = (number) => tone(`--c${number % COLOURS}`);
  const DASHES = ["solid", "dash", "dot", "dashdot"];

  let loading = null;
  function load() {
    loading ??= new Promise((done) => {
      if (window.Plotly) { done(); return; }
      const script = el("script", { src: Source.plotting });
      script.addEventListener("load", done);
      script.addEventListener("error", () => { loading = null; }); // the next chart asks again
      document.head.append(script);
    });
    return loading;
  }

  // A figure that shows `chart` as soon as it is looked at; `show` again with news.
  function figure() {
    load();
    const plot = el("div", { class: "plot" });
    const made = el("figure", { class: "chart" }, el("figcaption"), el("ul", { class: "legend" }), plot,
      el("details", { class: "note" }, el("summary", {}, "how to read this"), el("p")));
    return made;
  }

  function show(place, chart) {
    const [caption, legend, plot, note] = place.children;
    place.dataset.title = chart.title;
    replace(caption, chart.title, chart.unit ? el("span", { class: "unit" }, chart.unit) : null);
    const named = chart.series.filter((one) => one.form !== "faint");
    const keys = chart.legend || named.map((one) => ({ label: one.label, class: `${one.form} c${one.colour % COLOURS}` }));
    replace(legend, keys.length > 1 ? keys.map((one) => el("li", {}, el("span", { class: `key ${one.class}` }), one.label)) : []);
    note.lastChild.textContent = chart.note || "";
    note.hidden = !chart.note;
    const points = chart.series.map((one) => one.x.length).reduce((a, b) => a + b, 0);
    place.dataset.points = points;
    place.dataset.last = Math.max(...chart.series.map((one) => one.x.at(-1) ?? 0));
    const kept = drawn.get(plot) || { isSeen: false };
    kept.chart = chart;
    drawn.set(plot, kept);
    if (kept.isSeen) draw(plot); else seen.observe(plot);
  }

  function draw(plot) {
    if (!window.Plotly) { load().then(() => { if (drawn.has(plot)) draw(plot); }); return; }
    const { chart } = drawn.get(plot);
    Plotly.react(plot, traces(chart), layout(chart), {
      displayModeBar: false, responsive: true, doubleClick: "reset", showTips: false,
      staticPlot: false, scrollZoom: false,
    });
    plot.dataset.drawn = Number(plot.dataset.drawn || 0) + 1;
  }

  function traces(chart) {
    const ends = chart.series.filter((one) => one.form !== "level").flatMap((one) => [one.x[0], one.x.at(-1)]);
    return chart.series.map((one) => {
      const ink = colour(one.colour), share = chart.share;
      const base = { type: "scatter", name: one.label, x: one.x, y: one.y, showlegend: false,
        customdata: one.says.length ? one.says : one.y.map((y) => share ? percent(y, 1) : decimal(y)),
        hovertemplate: `%{customdata}<extra>${chart.series.length > 1 ? "%{fullData.name}" : ""}</extra>` };
      if (one.form === "level") return { ...base, x: [0, Math.max(...ends)], y: [one.y.at(-1), one.y.at(-1)],
        customdata: [base.customdata.at(-1), base.customdata.at(-1)],
        mode: "lines", line: { color: tone("--soft"), width: 1.2, dash: "dash" } };
      if (one.form === "faint") return { ...base, mode: "lines", opacity: 0.3, hoverinfo: "skip",
        hovertemplate: null, line: { color: ink, width: 1 } };
      if (one.form === "line") return { ...base, mode: "lines",
        line: { color: ink, width: 1.6, dash: DASHES[(one.dash || 0) % DASHES.length] } };
      const isHollow = one.form === "hollow";
      return { ...base, mode: one.x.length > 80 ? "lines" : "lines+markers",
        line: { color: ink, width: isHollow ? 1 : 1.6, dash: isHollow ? "dot" : DASHES[(one.dash || 0) % DASHES.length] },
        marker: isHollow ? { size: 6, color: tone("--card"), line: { color: ink, width: 1.4 } }
          : { size: 6, color: ink },
        error_y: one.low.length ? { type: "data", symmetric: false, thickness: 1.1, width: 3, color: ink,
          array: one.high.map((high, i) => high === null ? null : high - one.y[i]),
          arrayminus: one.low.map((low, i) => low === null ? null : one.y[i] - low) } : undefined };
    });
  }

  function layout(chart) {
    const soft = tone("--soft"), line = tone("--line");
    const axis = { gridcolor: line, linecolor: line, zeroline: false, fixedrange: isNarrow.matches,
      tickfont: { color: soft, size: 11 }, ticks: "", automargin: true };
    const isLog = chart.log && chart.series.every((one) => one.y.every((y) => y > 0));
    return {
      height: 216, margin: { l: 8, r: 10, t: 8, b: 8 }, autosize: true, uirevision: "kept",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif', size: 11, color: soft },
      hovermode: "x unified", dragmode: isNarrow.matches ? false : "zoom",
      hoverlabel: { bgcolor: tone("--card"), bordercolor: line, font: { color: tone("--ink"), size: 12 } },
      xaxis: { ...axis, showgrid: false, rangemode: "tozero", tickformat: "~s", hoverformat: ",.6~r", nticks: 6,
        title: chart.axis === "images seen" ? undefined : { text: chart.axis, font: { size: 11 } } },
      yaxis: { ...axis, type: isLog ? "log" : "linear", nticks: 6,
        tickformat: chart.share ? ".0%" : isLog ? "~g" : "~r", dtick: isLog ? "D2" : undefined,
        exponentformat: "SI" },
      shapes: (chart.breaks || []).map((at) => ({ type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper",
        line: { color: soft, width: 1, dash: "dot" } })),
    };
  }

  function forget() { // what is no longer in the page
    for (const plot of drawn.keys()) if (!plot.isConnected) {
      seen.unobserve(plot);
      if (window.Plotly) Plotly.purge(plot);
      drawn.delete(plot);
    }
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [plot, kept] of drawn) if (kept.isSeen) draw(plot);
  });

  return { figure, show, forget, COLOURS };
})();
