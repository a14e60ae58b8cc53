"use strict";
// Runs beside one another: curves in one picture, and the keys of the recipe that differ.

const Compare = (() => {
  const ABSENT = "(not there)";

  function view(page, ...names) {
    const feeds = names.map((name) => Source.run(name)), fleet = Source.fleet, figures = new Map();
    const numbers = el("section"), keys = el("section", { id: "differences" }), charts = el("div", { class: "charts" }), faults = el("div");
    replace(page, el("header", { class: "top" }, el("a", { class: "back", href: route("") }, "← runs"), el("h1", {}, "Runs side by side"), el("div", { class: "standing" }, names.map((name, i) => el("span", {}, el("span", { class: `key line c${i % Charts.COLOURS}` }), el("a", { href: route("run", name) }, name))))), faults, numbers, charts, keys);

    const listen = () => {
      replace(faults, feeds.map((feed, i) => feed.fault ? el("p", { class: "empty" }, `${names[i]}: ${feed.fault}`) : null));
      overlay();
      differences();
    };
    const stand = () => standings(numbers, names, names.map((name) => fleet.items.get(`run:${name}`)));

    function overlay() {
      const titles = new Map();
      feeds.forEach((feed) => feed.items.forEach((content, key) => { if (key.startsWith("chart:")) {
        const known = titles.get(key);
        titles.set(key, { content, order: Math.min(known ? known.order : Infinity, content.order), count: (known ? known.count : 0) + 1 });
      } }));
      for (const [key, { content, order, count }] of titles) {
        if (count < 2 && !figures.has(key)) continue;
        if (!figures.has(key)) figures.set(key, Charts.figure());
        const figure = figures.get(key), series = feeds.flatMap((feed, i) => lines(feed.items.get(key), names[i], i));
        figure.style.order = order;
        if (!figure.isConnected) charts.append(figure);
        const legend = [...new Map(series.map((one) => [one.what, { label: one.what, class: `dashed d${one.dash}` }])).values()];
        Charts.show(figure, { ...content, breaks: [], note: "", series, legend });
      }
    }

    function differences() {
      const tables = feeds.map((feed) => new Map((feed.items.get("recipe") || []).map((row) => [row.key, row])));
      const all = [...new Set(tables.flatMap((table) => [...table.keys()]))].filter((key) => !["run.name", "run.root"].includes(key));
      const rows = all.map((key) => [key, tables.map((table) => table.get(key))])
        .filter(([, found]) => new Set(found.map((row) => row ? row.value : ABSENT)).size > 1);
      replace(keys, el("h2", {}, "Keys of the recipe that differ"), rows.length
        ? el("div", { class: "wide tall" }, el("table", { class: "recipe" }, el("thead", {}, el("tr", {}, el("th", {}, "key"), names.map((name) => el("th", {}, name)))),
          el("tbody", {}, rows.map(([key, found]) => el("tr", {}, el("td", {}, el("code", {}, key)), found.map((row) =>
            el("td", { title: row ? row.origin : null }, el("code", { class: row ? null : "soft" }, row ? row.value : ABSENT))))))))
        : el("p", { class: "soft" }, tables.every((table) => table.size) ? "None but their names." : "Not every run has a recipe that can be read."));
    }

    feeds.forEach((feed) => feed.open(listen));
    fleet.open(stand);
    return () => { feeds.forEach((feed) => feed.close(listen)); fleet.close(stand); };
  }

  // A run's lines of a chart in the run's colour; what is another line of the same chart is dashed.
  function lines(content, name, place) {
    if (!content) return [];
    const measured = content.series.filter((one) => one.form !== "hollow" || one.low.length); // of a pair the one with bars
    const corrected = new Set(measured.filter((one) => one.form === "hollow").map((one) => one.label.replace(", corrected", "")));
    const kept = measured.filter((one) => ["dots", "hollow", "line"].includes(one.form) && !corrected.has(one.label))
      .map((one) => one.form === "hollow" ? { ...one, form: "dots" } : one);
    return kept.map((one, i) => ({ ...one, colour: place, dash: i, what: one.label, label: kept.length > 1 ? `${name}, ${one.label}` : name }));
  }

  function standings(place, names, rows) {
    const fact = (title, cell) => el("tr", {}, el("th", {}, title), rows.map((row) => el("td", { class: "n" }, row ? cell(row) : "–")));
    replace(place, el("div", { class: "wide" }, el("table", { class: "beside" }, el("tbody", {},
      el("tr", {}, el("th"), names.map((name, i) => el("th", { class: "n" }, el("span", { class: `key line c${i % Charts.COLOURS}` }), name))),
      fact("state", (row) => state(row.state)),
      fact("images seen", (row) => whole(row.images)),
      fact("images/s", (row) => row.last_rate === null ? "–" : whole(row.last_rate)),
      fact("gFID", (row) => row.gfid === null ? "–" : plusMinus(row.gfid, row.gfid_spread).join(" ")),
      fact("best gFID", (row) => row.gfid_best === null ? "–" : decimal(row.gfid_best)),
      fact("goodput", (row) => row.goodput === null ? "–" : percent(row.goodput, 1)),
      fact("restarts", (row) => String(row.restarts)),
      fact("recipe", (row) => el("code", {}, (row.digest || "–").slice(0, 8)))))));
  }

  return { view };
})();
