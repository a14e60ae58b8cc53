"""How the page looks, in light and dark, and the few lines that copy a protocol."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #22303c; --soft: #5d6b78; --line: #e2e5e8;
  --c0: #1f6f8b; --c1: #c8455a; --c2: #b9791b; --c3: #4b8a66; --c4: #6d597a; --c5: #5b7083;
  --fault: #9a3324; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14191e; --card: #1b2228; --ink: #dde4ea; --soft: #94a2af; --line: #2c363f;
  --c0: #62b6d2; --c1: #ee8090; --c2: #e3b25c; --c3: #85c6a1; --c4: #b3a0c6; --c5: #a3b5c5;
  --fault: #f0988a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; font-weight: 650; }
h2 { font-size: 19px; margin: 52px 0 4px; padding-top: 18px; border-top: 1px solid var(--line);
  font-weight: 650; }
h3 { font-size: 15px; margin: 24px 0 6px; font-weight: 650; }
p { margin: 6px 0 12px; max-width: 76ch; }
.lead, .unit, small, .chart p, .picture p, summary { color: var(--soft); }
a { color: var(--c0); text-decoration: none; }
a:hover { text-decoration: underline; }
code, pre { font: 12.5px/1.5 ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", monospace; }
nav { margin: 14px 0 0; font-size: 14px; display: flex; flex-wrap: wrap; gap: 2px 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px;
  margin: 26px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; }
.tile span, .tile em { display: block; color: var(--soft); font-size: 12.5px; font-style: normal; }
.tile b { display: block; font-size: 25px; font-weight: 600; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.tile small { font-size: 13px; margin-left: 4px; font-weight: 400; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr));
  gap: 18px; margin: 14px 0; align-items: start; }
figure { margin: 0; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 14px 6px; }
figcaption { font-weight: 600; font-size: 14px; }
.chart figcaption .unit { font-weight: 400; font-size: 12.5px; margin-left: 6px; }
.chart p { font-size: 12.5px; line-height: 1.45; margin: 6px 0 8px; }
.chart svg { display: block; width: 100%; height: auto; overflow: visible; }
.legend { list-style: none; margin: 3px 0 6px; padding: 0; font-size: 12.5px; color: var(--soft);
  display: flex; flex-wrap: wrap; gap: 2px 14px; }
.key { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 6px;
  background: var(--k); border: 1.5px solid var(--k); }
.key.hollow { background: transparent; }
.key.line { height: 3px; border: 0; border-radius: 2px; width: 14px; vertical-align: middle; }
.key.level { height: 0; width: 18px; background: none; border: 0;
  border-top: 1.5px dashed var(--soft);  border-radius: 0; vertical-align: middle; }
.c0 { --k: var(--c0); } .c1 { --k: var(--c1); } .c2 { --k: var(--c2); } .c3 { --k: var(--c3); }
.c4 { --k: var(--c4); } .c5 { --k: var(--c5); }
.s-productive { --k: var(--c0); } .s-replayed { --k: var(--c2); } .s-checkpoint { --k: var(--c3); }
.s-data_wait { --k: var(--c4); } .s-evaluation { --k: var(--c5); } .s-start_up { --k: var(--c1); }
.s-detection { --k: var(--fault); } .s-idle { --k: var(--line); }
svg rect.spent { fill: var(--k); }
svg text { font: 11px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
svg .tick { fill: var(--soft); } svg .end { fill: var(--k); font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .break { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 3; }
svg .level { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 5 4; }
svg polyline { fill: none; stroke: var(--k); stroke-width: 1.7; stroke-linejoin: round; }
svg polyline.hollow { stroke-width: 1; stroke-dasharray: 3 3; opacity: .75; }
svg polyline.faint { stroke-width: 1; opacity: .3; }
svg circle { fill: var(--k); stroke: var(--card); stroke-width: 1; }
svg circle.hollow { fill: var(--card); stroke: var(--k); stroke-width: 1.4; }
svg .bar { fill: none; stroke: var(--k); stroke-width: 1.3; opacity: .8; }
.wide { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-size: 13.5px; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td small { display: block; font-size: 12px; line-height: 1.35; max-width: 46ch; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts th { width: 130px; } .facts td { overflow-wrap: anywhere; }
.strips { width: auto; } .strips th { text-align: right; font-variant-numeric: tabular-nums; }
.strips th, .strips td { border: 0; padding: 3px 12px 3px 0; vertical-align: middle; }
img { max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px;
  display: block; }
.pictures { display: flex; flex-wrap: wrap; gap: 28px; margin: 16px 0; align-items: start; }
.picture figcaption { margin-bottom: 8px; }
.picture p { font-size: 12.5px; max-width: 60ch; }
details { margin: 8px 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
summary code { color: var(--c0); }
.card { border: 1px solid var(--line); border-radius: 8px; background: var(--card);
  padding: 8px 14px; }
.card:target { border-color: var(--c0); }
pre { overflow-x: auto; padding: 12px 14px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--paper); margin: 8px 0; }
button { font: inherit; font-size: 12.5px; color: var(--c0); background: none; cursor: pointer;
  border: 1px solid var(--line); border-radius: 5px; padding: 1px 10px; }
.fault { color: var(--fault); }
@media print { details { display: block; } .chart, .tile { break-inside: avoid; } }
"""

# A file opened from a disk may not reach the clipboard; the text is then marked for the reader.
SCRIPT = """
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copies]");
  if (!button) return;
  const text = button.closest("details").querySelector(button.dataset.copies);
  const mark = () => { const range = document.createRange(); range.selectNodeContents(text);
    const chosen = getSelection(); chosen.removeAllRanges(); chosen.addRange(range);
    button.textContent = document.execCommand("copy") ? "copied" : "marked"; };
  if (!navigator.clipboard) { mark(); return; }
  navigator.clipboard.writeText(text.textContent).then(
    () => { button.textContent = "copied"; }, mark);
});
const open = () => { const card = location.hash && document.querySelector(location.hash);
  if (card && card.tagName === "DETAILS") { card.open = true; card.scrollIntoView(); } };
addEventListener("hashchange", open); open();
"""
