"use strict";
// All runs in a table, campaigns above it.

const STATES = ["running", "waiting", "failed", "stopped", "ended"];

const Fleet = (() => {
  const chosen = new Set();
  let filter = "", only = null, sort = { key: null, turn: 1 };

  const by = (row) => [STATES.indexOf(row.state), -(row.heard || 0)];
  const COLUMNS = [
    { key: "name", title: "run", class: "name", cell: nameCell, value: (row) => row.name },
    { key: "state", title: "state", class: "st", value: (row) => STATES.indexOf(row.state),
      cell: (row) => [state(row.state)] },
    { key: "images", title: "images seen", class: "n progress", cell: progressCell, value: (row) => -row.images },
    { key: "rate", title: "images/s", class: "n rate", value: (row) => -(row.rate ?? -1),
      cell: (row) => [row.rate === null ? el("span", { class: "soft" }, row.last_rate === null ? "–" : short(row.last_rate)) : short(row.rate)] },
    { key: "gfid", title: "gFID", class: "n gfid", help: "newest value and the half width of its 95 % interval",
      cell: gfidCell, value: (row) => row.gfid ?? Infinity },
    { key: "gfid_best", title: "best", class: "n best", value: (row) => row.gfid_best ?? Infinity,
      cell: (row) => [row.gfid_best === null ? "–" : decimal(row.gfid_best)] },
    { key: "goodput", title: "goodput", class: "n goodput", help: "share of the wall time that new images were trained on",
      cell: goodputCell, value: (row) => -(row.goodput ?? -1) },
    { key: "restarts", title: "restarts", class: "n restarts", value: (row) => -row.restarts,
      cell: (row) => [row.restarts ? el("span", { class: "warn" }, String(row.restarts)) : el("span", { class: "soft" }, "0")] },
    { key: "heard", title: "heard of", class: "n heard", value: (row) => -(row.heard || 0), cell: (row) => [ago(row.heard)] },
  ];

  function nameCell(row) {
    return [
      el("a", { href: route("run", row.name) }, row.name),
      row.problem ? el("small", { class: "fault" }, row.problem) : null,
    ];
  }

  function progressCell(row) {
    const share = row.total ? Math.min(1, row.images / row.total) : null;
    return [
      el("span", {}, short(row.images), row.total ? el("span", { class: "soft" }, ` / ${short(row.total)}`) : null),
      share === null ? null : el("div", { class: "track" }, el("i", { class: `is-${row.state}`, width: `${100 * share}%` })),
    ];
  }

  function gfidCell(row) {
    if (row.gfid === null) return [el("span", { class: "soft" }, "–")];
    const [value, spread] = plusMinus(row.gfid, row.gfid_spread);
    return [spark(row.gfid_course), el("b", {}, value), el("span", { class: "soft spread" }, spread)];
  }

  function goodputCell(row) {
    if (row.goodput === null) return [el("span", { class: "soft" }, "–")];
    const words = Object.entries(row.causes).map(([cause, s]) => `${cause.replace("_", " ")} ${duration(s)}`).join(", ");
    return [el("span", {}, percent(row.goodput)), bar(Object.entries(row.causes), words)];
  }

  function tableRow(row, changed) {
    const box = el("input", { type: "checkbox", "aria-label": `choose ${row.name}`, onchange: () => {
      if (box.checked) chosen.add(row.name); else chosen.delete(row.name);
      changed();
    } });
    box.checked = chosen.has(row.name);
    return el("tr", { "data-run": row.name }, el("td", { class: "choose" }, el("label", {}, box)),
      COLUMNS.map((column) => el("td", { class: column.class, "data-title": column.title }, column.cell(row))));
  }

  function view(page) {
    const feed = Source.fleet, rows = new Map(); // name: row and element
    const lead = el("p", { class: "lead root" }), chips = el("div", { class: "chips" });
    const words = el("div", { class: "words" }), campaigns = el("div", { class: "campaigns" });
    const compare = el("a", { class: "button", hidden: true });
    const search = el("input", { type: "search", placeholder: "filter by name", "aria-label": "filter by name", value: filter,
      oninput: () => { filter = search.value; arrange(); } });
    const head = el("tr", {}, el("th", { class: "choose" }), COLUMNS.map((column) =>
      el("th", { class: column.class, title: column.help || null }, el("button", { type: "button", onclick: () => {
        sort = sort.key === column.key ? { key: column.key, turn: -sort.turn } : { key: column.key, turn: 1 };
        arrange();
      } }, column.title))));
    const body = el("tbody");
    const table = el("table", { class: "fleet" }, el("thead", {}, head), body);
    replace(page, el("header", { class: "top" }, el("h1", {}, "Runs"), lead), words, campaigns,
      el("div", { class: "tools" }, search, chips, compare), table);

    const listen = (keys) => {
      for (const key of keys) {
        if (key === "root") tellRoot(feed.items.get("root"));
        else if (key.startsWith("run:")) take(key);
      }
      if ([...keys].some((key) => key.startsWith("campaign:"))) tellCampaigns();
      arrange();
    };

    function take(key) {
      const row = feed.items.get(key), old = rows.get(key);
      if (!row) { old?.element.remove(); rows.delete(key); return; }
      const element = tableRow(row, choice);
      if (old) old.element.replaceWith(element);
      rows.set(key, { row, element });
    }

    function tellRoot(root) {
      replace(lead, el("code", {}, root.root));
      replace(words, root.words.map((each) => el("p", { class: root.read ? "empty" : "busy soft" }, each)));
    }

    function tellCampaigns() {
      const boards = [...feed.items].filter(([key]) => key.startsWith("campaign:")).map(([, board]) => board);
      replace(campaigns, boards.map((board) => el("a", { class: "campaign", href: route("campaign", board.campaign) },
        el("span", { class: "soft" }, "campaign"), el("b", {}, board.campaign), state(board.state),
        el("span", { class: "soft" }, `${board.trials.length} trials`, budget(board)))));
    }

    function choice() {
      const there = [...chosen].filter((name) => rows.has(`run:${name}`));
      compare.hidden = there.length < 2;
      compare.textContent = `compare ${there.length} runs`;
      compare.href = route("compare", ...there);
    }

    function arrange() {
      const all = [...rows.values()];
      const column = COLUMNS.find((each) => each.key === sort.key);
      const less = (a, b) => {
        const [one, other] = column ? [[column.value(a.row)], [column.value(b.row)]] : [by(a.row), by(b.row)];
        for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return (one[i] < other[i] ? -1 : 1) * sort.turn;
        return a.row.name < b.row.name ? -1 : 1;
      };
      const shown = all.filter(({ row }) => row.name.toLowerCase().includes(filter.toLowerCase()) && (!only || row.state === only));
      const wanted = shown.sort(less).map(({ element }) => element);
      if (wanted.length !== body.children.length || wanted.some((element, i) => body.children[i] !== element)) replace(body, wanted);
      head.querySelectorAll("th").forEach((th, i) => th.setAttribute("aria-sort", !i || COLUMNS[i - 1].key !== sort.key ? "none" : sort.turn > 0 ? "ascending" : "descending"));
      replace(chips, STATES.map((name) => [name, all.filter(({ row }) => row.state === name).length]).filter(([name, count]) => count || name === only)
        .map(([name, count]) => el("button", { type: "button", class: `chip is-${name}`, "aria-pressed": only === name ? "true" : "false",
          onclick: () => { only = only === name ? null : name; arrange(); } }, `${count} ${name}`)));
      table.hidden = !all.length;
      choice();
    }

    feed.open(listen);
    return () => feed.close(listen);
  }

  return { view };
})();
