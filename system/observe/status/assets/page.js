"use strict";
// Which view the address asks for, and whether what it shows is of now.

function route(view, ...names) {
  return view ? `#/${view}/${names.map(encodeURIComponent).join(",")}` : "#/";
}

(() => {
  const page = document.getElementById("page"), foot = el("footer"), VIEWS = { run: Run.view, compare: Compare.view, campaign: Campaign.view };
  let leave = null;
  page.after(foot);

  function show() {
    if (leave) leave();
    const [, view, names] = location.hash.match(/^#\/(\w+)\/(.+)$/) || [];
    const wanted = (names || "").split(",").map((each) => { try { return decodeURIComponent(each); } catch { return each; } });
    leave = VIEWS[view] ? VIEWS[view](page, ...wanted) : Fleet.view(page);
    document.title = VIEWS[view] ? `${wanted.join(", ")} · runs` : "Runs";
    Charts.forget();
    scrollTo(0, 0);
  }

  function live() {
    foot.className = Source.isAway ? "away" : "";
    foot.textContent = !Source.isLive ? "A file: as it was when this was written."
      : Source.isAway ? "The page's server does not answer: what stands here is what it said last. Runs go on without it."
        : "live";
  }

  document.addEventListener("looked", live);
  addEventListener("hashchange", show);
  Source.fleet.open(() => {});
  show();
  live();
})();
