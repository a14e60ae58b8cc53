"use strict";
// One run: where it stands, its curves, its pictures, its time, its recipe.

const GROUPS = ["Drawn images", "Reconstruction", "Training", "Density and classes", "Latents"];

const Run = (() => {
  function view(page, name) {
    const feed = Source.run(name), fleet = Source.fleet, key = `run:${name}`, charts = new Map();
    const head = el("div", { class: "standing" }), faults = el("div"), tiles = el("div", { class: "tiles" });
    const first = el("div", { class: "charts" });
    const parts = {
      strip: el("section", { id: "pictures" }), time: el("section", { id: "time" }), commands: el("section", { id: "commands" }),
      happened: el("section", { id: "happened" }), recipe: el("section", { id: "recipe" }), starts: el("section", { id: "starts" }),
    };
    const groups = new Map(GROUPS.map((group) => [group, section(group, null, el("div", { class: "charts" }))]));
    groups.forEach((each) => { each.hidden = true; });
    replace(page,
      el("header", { class: "top" }, el("a", { class: "back", href: route("") }, "← runs"), el("h1", {}, name), head), faults, tiles, first,
      parts.strip, parts.time, parts.commands, parts.happened, [...groups.values()], parts.recipe, parts.starts);

    const listen = (keys) => {
      replace(faults, feed.fault ? el("p", { class: "empty" }, feed.fault) : []);
      const told = feed.items.get("faults") || [];
      if (told.length) faults.append(el("details", { class: "faults" },
        el("summary", {}, `${told.length} thing${told.length > 1 ? "s" : ""} could not be read`), el("ul", {}, told.map((each) => el("li", {}, each)))));
      if (keys.has("numbers")) replace(tiles, (feed.items.get("numbers") || []).map(tile));
      if (keys.has("strip")) pictures(parts.strip, name, feed.items.get("strip") || []);
      if (keys.has("time")) time(parts.time, feed.items.get("time"));
      if (keys.has("commands")) orders(parts.commands, feed.items.get("commands") || []);
      if (keys.has("happened")) trouble(parts.happened, feed.items.get("happened"));
      if (keys.has("recipe")) recipe(parts.recipe, feed.items.get("recipe") || []);
      if (keys.has("starts")) starts(parts.starts, feed.items.get("starts") || []);
      for (const each of keys) if (each.startsWith("chart:")) chart(each);
    };

    function chart(each) {
      const content = feed.items.get(each);
      if (!content) { charts.get(each)?.remove(); charts.delete(each); return; }
      const group = groups.get(content.group), place = group ? group.querySelector(".charts") : first;
      if (group) group.hidden = false;
      let figure = charts.get(each);
      if (!figure) {
        figure = Charts.figure();
        figure.dataset.order = content.order;
        charts.set(each, figure);
      }
      figure.style.order = content.order;
      if (figure.parentElement !== place) place.append(figure);
      Charts.show(figure, content);
    }

    const stand = (keys) => {
      if (!keys.has(key)) return;
      const row = fleet.items.get(key);
      replace(head, row ? standing(row) : el("span", { class: "soft" }, "not under this root"));
    };

    feed.open(listen);
    fleet.open(stand);
    return () => { feed.close(listen); fleet.close(stand); };
  }

  function standing(row) {
    const left = row.total && row.rate ? (row.total - row.images) / row.rate : null;
    const fact = (title, ...value) => el("span", { class: "fact" }, el("span", { class: "soft" }, title), value);
    return [
      state(row.state),
      fact("images", whole(row.images), row.total ? el("span", { class: "soft" }, ` of ${whole(row.total)}`) : null,
        row.total ? ` (${percent(Math.min(1, row.images / row.total))})` : null),
      row.rate === null ? null : fact("images/s", whole(row.rate)),
      left === null ? null : fact("left", duration(left)),
      fact("attempt", String(row.attempt), row.restarts ? el("span", { class: "warn" }, ` ${row.restarts} restart${row.restarts > 1 ? "s" : ""}`) : null),
      row.workers ? fact("workers", String(row.workers)) : null,
      row.goodput === null ? null : fact("goodput", percent(row.goodput, 1)),
      row.checkpoint === null ? null : fact("checkpoint", `${short(row.checkpoint)}, `, ago(row.checkpoint_time)),
      fact("heard of", ago(row.heard)),
      row.digest ? fact("recipe", el("code", {}, row.digest.slice(0, 8))) : null,
    ];
  }

  function tile(one) {
    return el("div", { class: "tile" }, el("span", {}, one.label), el("b", {}, one.value, el("small", {}, one.unit)), el("em", {}, one.below));
  }

  function pictures(place, name, columns) {
    if (!columns.length) { replace(place, el("h2", {}, "Samples over time"), el("p", { class: "soft" }, "No pictures yet: each evaluation leaves one.")); return; }
    const old = place.querySelector(".film"), atEnd = !old || old.scrollLeft + old.clientWidth >= old.scrollWidth - 8;
    const whole_ = el("div", { class: "whole" });
    const film = el("div", { class: "film", tabindex: 0 }, columns.map((one) => el("figure", { "data-images": one.images },
      one.picture ? el("button", { type: "button", title: "the whole grid", onclick: async () => {
        const found = await Source.grid(name, one.images);
        replace(whole_, el("h3", {}, `at ${whole(one.images)} images seen`),
          found.picture ? el("img", { src: found.picture, alt: `drawn at ${whole(one.images)} images seen` }) : el("p", { class: "fault" }, found.fault));
      } }, el("img", { src: one.picture, width: one.width, height: one.height, alt: `drawn at ${whole(one.images)} images seen` }))
        : el("div", { class: "damaged", title: one.fault }, "damaged"),
      el("figcaption", {}, short(one.images)))));
    replace(place, el("h2", {}, "Samples over time"),
      el("p", { class: "soft" }, "The same noise and labels at every checkpoint, a class to a row; images seen below."), film, whole_);
    if (atEnd) film.scrollLeft = film.scrollWidth;
  }

  function time(place, spent) {
    if (!spent || !spent.causes.length) { replace(place); return; }
    const causes = spent.causes.map((one) => [one.cause, one.seconds, `${one.label}: ${duration(one.seconds)} (${percent(one.share, 1)})`]);
    replace(place, el("h2", {}, "Where the time went"),
      el("p", { class: "soft" }, `New images were trained on for ${percent(spent.goodput, 1)} of ${duration(spent.wall_s)}` +
        `${spent.attempts > 1 ? `, in ${spent.attempts} attempts` : ""}. Every second stands on one account.`),
      el("div", { class: "badput" }, bar(causes)),
      el("ul", { class: "causes" }, spent.causes.map((one) => el("li", { title: one.meaning, "data-cause": one.cause },
        el("span", { class: `key s-${one.cause}` }), el("span", {}, one.label), el("b", {}, percent(one.share, 1)), el("span", { class: "soft" }, duration(one.seconds))))));
  }

  function orders(place, commands) {
    replace(place, el("h2", {}, "Commands"), el("dl", { class: "commands" }, commands.map((one) => [
      el("dt", {}, one.for), el("dd", {}, el("div", { class: "command" }, el("code", {}, one.command), copyButton(one.command)), el("small", {}, one.says))])));
  }

  function trouble(place, happened) {
    if (!happened || !happened.count) { replace(place, el("h2", {}, "What happened"), el("p", { class: "soft" }, "No restart, skipped update, bad sample, failed or dropped evaluation.")); return; }
    const older = happened.count - happened.rows.length;
    replace(place, el("h2", {}, "What happened"),
      el("div", { class: "wide tall" }, el("table", {}, el("thead", {}, el("tr", {}, ["time (UTC)", "what", "images seen", "attempt", "more"].map((each) => el("th", {}, each)))),
        el("tbody", {}, happened.rows.map((row) => el("tr", {}, el("td", { class: "nowrap" }, row.time), el("td", { class: "nowrap" }, row.what),
          el("td", { class: "n" }, row.images_seen), el("td", { class: "n" }, row.attempt), el("td", { class: "more" }, row.more)))))),
      older > 0 ? el("p", { class: "soft" }, `${whole(older)} earlier ones are in the ledger.`) : null);
  }

  function recipe(place, rows) {
    const body = el("tbody"), isDefault = (row) => row.origin === "default";
    let text = "", all = false;
    const arrange = () => replace(body, rows.filter((row) => (all || !isDefault(row)) && `${row.key} ${row.value} ${row.origin}`.toLowerCase().includes(text))
      .map((row) => el("tr", { class: isDefault(row) ? "default" : null }, el("td", {}, el("code", {}, row.key)), el("td", {}, el("code", {}, row.value)),
        el("td", { class: "soft" }, row.origin))));
    const search = el("input", { type: "search", placeholder: "filter keys, values, origins", "aria-label": "filter the recipe", oninput: () => { text = search.value.toLowerCase(); arrange(); } });
    const box = el("input", { type: "checkbox", onchange: () => { all = box.checked; arrange(); } });
    replace(place, el("h2", {}, "Recipe"), rows.length ? [el("div", { class: "tools" }, search, el("label", {}, box, ` with ${rows.filter(isDefault).length} defaults`)),
      el("div", { class: "wide tall" }, el("table", { class: "recipe" }, el("thead", {}, el("tr", {}, ["key", "value", "from"].map((each) => el("th", {}, each)))), body))]
      : el("p", { class: "soft" }, "The run's folder has no recipe that can be read."));
    arrange();
  }

  function starts(place, list) {
    if (!list.length) { replace(place); return; }
    replace(place, el("h2", {}, "Starts"), list.map((one, i) => el("details", { open: i === list.length - 1 }, el("summary", {}, `${i + 1}: ${one.time}`),
      el("table", { class: "facts" }, el("tbody", {}, Object.entries(one).filter(([name, value]) => value && name !== "time").map(([name, value]) =>
        el("tr", {}, el("th", {}, name), el("td", {}, el("code", {}, value)))))))));
  }

  return { view };
})();
