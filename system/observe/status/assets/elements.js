"use strict";
// Elements and words. Texts enter the page as texts alone: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "grow") made.style.flexGrow = value;
    else if (name === "width" && tag !== "img") made.style.width = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

function replace(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}

const whole = (count) => Math.round(count).toLocaleString("en");

// At most three digits: 25k, 1.28M.
function short(count) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(count) >= size) return `${Number((count / size).toPrecision(3))}${letter}`;
  return `${Number(count.toPrecision(3))}`;
}

const decimal = (value) =>
  Math.abs(value) >= 1e4 ? short(value)
    : Math.abs(value) >= 1e-3 ? value.toPrecision(3) : value.toExponential(1);

// A spread to two digits, and the value to as many places.
function plusMinus(value, spread) {
  if (spread === null || spread === undefined) return [decimal(value), ""];
  const places = Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(spread || 1))));
  return [value.toFixed(places), `±${spread.toFixed(places)}`];
}

const percent = (share, places = 0) => `${(100 * share).toFixed(places)} %`;

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds)), m = Math.floor(s / 60), h = Math.floor(m / 60);
  if (s < 60) return `${s} s`;
  if (m < 60) return `${m} min${m < 10 && s % 60 ? ` ${s % 60} s` : ""}`;
  if (h < 48) return `${h} h${m % 60 ? ` ${m % 60} min` : ""}`;
  return `${Math.floor(h / 24)} d${h % 24 ? ` ${h % 24} h` : ""}`;
}

const moment = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ");

// How long ago; it goes on by itself (see `age`).
function ago(seconds) {
  if (!seconds) return el("span", { class: "soft" }, "never");
  const made = el("time", { "data-at": seconds, title: `${moment(seconds)} UTC` });
  age(made);
  return made;
}

function age(element) {
  const seconds = Source.now() - Number(element.dataset.at);
  element.textContent = Source.isLive
    ? seconds < 5 ? "now" : `${duration(seconds > 3600 ? 60 * Math.round(seconds / 60) : seconds)} ago`
    : moment(Number(element.dataset.at));
}

setInterval(() => document.querySelectorAll("time[data-at]").forEach(age), 1000);

// A small course of values, without axes: whether it falls.
function spark(values) {
  if (values.length < 2) return null;
  const low = Math.min(...values), high = Math.max(...values), width = 64, height = 16;
  const place = (value, i) =>
    `${(1 + (i * (width - 4)) / (values.length - 1)).toFixed(1)},` +
    `${(2 + ((high - value) * (height - 4)) / (high - low || 1)).toFixed(1)}`;
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "polyline");
  const dot = document.createElementNS(SVG, "circle");
  const [x, y] = place(values.at(-1), values.length - 1).split(",");
  for (const [name, value] of [["viewBox", `0 0 ${width} ${height}`], ["class", "spark c0"],
    ["width", width], ["height", height], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  line.setAttribute("points", values.map(place).join(" "));
  for (const [name, value] of [["cx", x], ["cy", y], ["r", 1.8]]) dot.setAttribute(name, value);
  svg.append(line, dot);
  return svg;
}

// Seconds by cause as one bar; `causes` in the order of the account.
function bar(causes, title) {
  const parts = causes.map(([cause, seconds, words]) =>
    el("i", { class: `s-${cause}`, grow: seconds, title: words || null }));
  return el("div", { class: "bar", title: title || null }, parts);
}

function state(name) {
  return el("span", { class: `state is-${name}` }, name);
}

function section(title, id, ...children) {
  return el("section", { id }, el("h2", {}, title), children);
}

function copyButton(text) {
  const button = el("button", { type: "button", class: "copy", onclick: () => {
    const done = (word) => { button.textContent = word; setTimeout(() => { button.textContent = "copy"; }, 1500); };
    const mark = () => { const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      getSelection().removeAllRanges(); getSelection().addRange(range); done("marked"); };
    if (!navigator.clipboard) { mark(); return; }
    navigator.clipboard.writeText(text).then(() => done("copied"), mark);
  } }, "copy");
  return button;
}
