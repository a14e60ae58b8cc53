"use strict";
// A campaign's leaderboard, with filters.

function budget(board) {
  const parts = [];
  if (board.gpu_hours_spent || board.gpu_hours_limit)
    parts.push(`${decimal(board.gpu_hours_spent)}${board.gpu_hours_limit === null ? "" : ` of ${decimal(board.gpu_hours_limit)}`} GPU hours`);
  if (board.cost_spent || board.cost_limit)
    parts.push(`cost ${decimal(board.cost_spent)}${board.cost_limit === null ? "" : ` of ${decimal(board.cost_limit)}`}`);
  return parts.length ? ` · ${parts.join(" · ")}` : "";
}

const Campaign = (() => {
  function view(page, name) {
    const fleet = Source.fleet, key = `campaign:${name}`;
    let text = "", only = "", rung = "";
    const lead = el("div", { class: "standing" }), best = el("div", { class: "tiles" });
    const search = el("input", { type: "search", placeholder: "filter: key=value, run, trial", "aria-label": "filter trials", oninput: () => { text = search.value.toLowerCase(); arrange(); } });
    const states = el("select", { "aria-label": "state", onchange: () => { only = states.value; arrange(); } });
    const rungs = el("select", { "aria-label": "rung", onchange: () => { rung = rungs.value; arrange(); } });
    const table = el("table", { class: "board" });
    replace(page, el("header", { class: "top" }, el("a", { class: "back", href: route("") }, "← runs"), el("h1", {}, name), lead), best,
      el("div", { class: "tools" }, search, states, rungs), el("div", { class: "wide" }, table));

    const listen = (keys) => { if (keys.has(key)) tell(); };

    function tell() {
      const board = fleet.items.get(key);
      if (!board) { replace(lead, el("span", { class: "soft" }, "There is no leaderboard of this name.")); replace(table); return; }
      const fact = (title, ...value) => el("span", { class: "fact" }, el("span", { class: "soft" }, title), value);
      replace(lead, state(board.state), fact("objective", el("code", {}, board.objective), ` (${board.direction})`),
        fact("trials", String(board.trials.length)), fact("rungs", board.rungs.map(short).join(", ") || "–"), fact("spent", budget(board).replace(" · ", "") || "nothing"), fact("ticked", ago(board.updated)));
      const first = board.trials.find((row) => row.value !== null);
      replace(best, first ? [el("div", { class: "tile wide-tile" }, el("span", {}, "best"), el("b", {}, value(first).join(" ")), el("em", {}, overrides(first)))] : []);
      options(states, "every state", [...new Set(board.trials.map((row) => row.state))], only);
      options(rungs, "every rung", [...new Set(board.trials.map((row) => row.rung))].sort((a, b) => a - b).map(String), rung);
      arrange();
    }

    function arrange() {
      const board = fleet.items.get(key);
      if (!board) return;
      const keys = [...new Set(board.trials.flatMap((row) => Object.keys(row.overrides)))].sort();
      const shown = board.trials.map((row, i) => [i + 1, row]).filter(([, row]) => (!only || row.state === only) && (rung === "" || String(row.rung) === rung)
        && text.split(/\s+/).every((word) => `${row.run} ${row.trial} ${overrides(row)}`.toLowerCase().includes(word)));
      replace(table, el("thead", {}, el("tr", {}, ["", "run"].map((each) => el("th", {}, each)), keys.map((each) => el("th", { title: each }, each.split(".").slice(-2).join("."))),
        el("th", {}, "state"), ["rung", "images seen", board.objective.split("/").at(-1), "confirmed"].map((each) => el("th", { class: "n" }, each)))),
      el("tbody", {}, shown.map(([place, row]) => el("tr", { "data-trial": row.trial }, el("td", { class: "n soft" }, String(place)), el("td", {}, el("a", { href: route("run", row.run) }, row.run)),
        keys.map((each) => el("td", {}, el("code", {}, each in row.overrides ? String(row.overrides[each]) : "–"))), el("td", {}, state(row.state)), el("td", { class: "n" }, String(row.rung)),
        el("td", { class: "n" }, short(row.images_seen)), el("td", { class: "n" }, spread(row.value, row.error)), el("td", { class: "n" }, spread(row.confirmed_value, row.confirmed_error))))));
    }

    fleet.open(listen);
    tell();
    return () => fleet.close(listen);
  }

  const Z95 = 1.96;
  const overrides = (row) => Object.entries(row.overrides).map(([key, value]) => `${key}=${value}`).join(" ");
  const value = (row) => row.confirmed_value === null ? plusMinus(row.value, row.error === null ? null : Z95 * row.error)
    : plusMinus(row.confirmed_value, row.confirmed_error === null ? null : Z95 * row.confirmed_error);
  const spread = (found, error) => found === null ? [el("span", { class: "soft" }, "–")]
    : (([shown, width]) => [el("b", {}, shown), el("span", { class: "soft spread" }, width)])(plusMinus(found, error === null ? null : Z95 * error));

  function options(select, none, values, chosen) {
    replace(select, el("option", { value: "" }, none), values.map((each) => el("option", { value: each }, none.includes("rung") ? `rung ${each}` : each)));
    select.value = chosen;
  }

  return { view };
})();
