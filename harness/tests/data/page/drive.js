// SPDX-License-Identifier: GPL-2.0-only
// Runs the script of a trail's page on as much of a DOM as it uses, and does what a reader would.
//
//   node drive.js PAGE.html <STEPS
//
// STEPS is a JSON list of ["click", ID], ["filter", TEXT], ["key", KEY], ["open", LANE, N] (a click
// on the Nth mark of a lane), ["enter", LANE, N] (the key), ["wheel", LANE, X, DELTA] and
// ["drag", LANE, FROM, TO], with places in pixels. What is to be seen at first and after each of
// them is printed, one JSON object a line. Anything that the page would have and this has not
// ends in an exception.
"use strict";
const fs = require("fs");
const vm = require("vm");

const WIDTH = 800;

class Element {
  constructor(name) {
    this.tagName = name.toUpperCase();
    this.nodes = [];
    this.attributes = new Map();
    this.listeners = new Map();
    this.style = {};
    this.parent = null;
    this.hidden = false;
    this.scrollTop = 0;
  }
  get children() { return this.nodes.filter((one) => one instanceof Element); }
  get textContent() { return this.nodes.map((one) => (one instanceof Element ? one.textContent : one)).join(""); }
  set textContent(text) { this.nodes = [String(text)]; }
  set innerHTML(text) { throw new Error(`markup is set: ${text}`); }
  get className() { return this.attributes.get("class") || ""; }
  set className(text) { this.attributes.set("class", text); }
  get classList() {
    const names = () => this.className.split(" ").filter(Boolean);
    return {
      contains: (name) => names().includes(name),
      add: (name) => { this.className = [...names(), name].join(" "); },
      remove: (name) => { this.className = names().filter((one) => one !== name).join(" "); },
    };
  }
  setAttribute(name, value) { this.attributes.set(name, String(value)); }
  append(...nodes) {
    for (const one of nodes) if (one instanceof Element) one.parent = this;
    this.nodes.push(...nodes.map((one) => (one instanceof Element ? one : String(one))));
  }
  replaceChildren(...nodes) { this.nodes = []; this.append(...nodes); }
  closest(name) {
    for (let one = this; one; one = one.parent) if (one.tagName === name.toUpperCase()) return one;
    return null;
  }
  getBoundingClientRect() { return { left: 0, width: WIDTH }; }
  scrollIntoView() {}
  addEventListener(kind, listener) {
    this.listeners.set(kind, [...(this.listeners.get(kind) || []), listener]);
  }
  dispatch(kind, more) {
    const event = { target: this, preventDefault() {}, ...more };
    for (let one = this; one; one = one.parent) {
      for (const listener of one.listeners.get(kind) || []) listener(event);
    }
  }
  all(found = []) {
    for (const one of this.children) { found.push(one); one.all(found); }
    return found;
  }
}

const page = fs.readFileSync(process.argv[2], "utf-8");
const body = new Element("body");
const root = new Element("html");
root.append(body);
const byId = new Map();
for (const [, name, id, hidden] of page.matchAll(/<(\w+)[^>]*? id="(\w+)"[^>]*?( hidden)?[ >]/g)) {
  const one = new Element(name);
  one.hidden = Boolean(hidden);
  byId.set(id, one);
  body.append(one);
}
const scripts = [...page.matchAll(/<script[^>]*>([^]*?)<\/script>/g)].map((one) => one[1]);
byId.get("data").textContent = scripts[0];

const document = {
  getElementById: (id) => byId.get(id),
  createElement: (name) => new Element(name),
  createElementNS: (space, name) => new Element(name),
  querySelectorAll: (selector) => {
    const names = selector.split(".").filter(Boolean);
    return body.all().filter((one) => names.every((name) => one.classList.contains(name)));
  },
  addEventListener: (kind, listener) => root.addEventListener(kind, listener),
};
const window = new Element("window");
vm.runInNewContext(scripts[1], { document, window, Date, Map, Set, Math, JSON, Object });

const lanes = () => byId.get("lanes").children.filter((one) => one.className === "lane");
const svgOf = (lane) => lane.children.find((one) => one.tagName === "SVG");
const having = (svg, name) => svg.children.filter((one) => one.classList.contains(name));
const laneOf = (label) => lanes().find((one) => one.children[0].textContent === label);
const marksOf = (label) => having(svgOf(laneOf(label)), "event");
const number = (one, name) => Number(one.attributes.get(name));

const steps = {
  click: (id) => byId.get(id).dispatch("click"),
  filter: (text) => { byId.get("filter").value = text; byId.get("filter").dispatch("input"); },
  key: (key) => body.dispatch("keydown", { key }),
  open: (lane, n) => marksOf(lane)[n].dispatch("click"),
  enter: (lane, n) => marksOf(lane)[n].dispatch("keydown", { key: "Enter" }),
  wheel: (lane, x, deltaY) => svgOf(laneOf(lane)).dispatch("wheel", { clientX: x, deltaY, ctrlKey: true }),
  drag: (lane, from, to) => {
    svgOf(laneOf(lane)).dispatch("pointerdown", { clientX: from });
    body.dispatch("pointermove", { clientX: to });
    body.dispatch("pointerup");
    body.dispatch("pointermove", { clientX: from });
  },
};
const show = () => {
  const list = byId.get("lanes");
  const [axis] = list.children;
  const detail = byId.get("detail");
  console.log(JSON.stringify({
    hidden: [...byId].filter(([, one]) => one.hidden).map(([id]) => id),
    legend: byId.get("legend").children.map((one) => one.textContent),
    times: svgOf(axis).children.map((one) => one.textContent).filter(Boolean),
    lanes: Object.fromEntries(lanes().map((one) => [
      one.children[0].textContent,
      {
        stays: having(svgOf(one), "stay").map((stay) => [number(stay, "x"), number(stay, "width")]),
        marks: having(svgOf(one), "event").map((mark) => number(mark, "x")),
        on: having(svgOf(one), "event").flatMap((mark, at) => (mark.classList.contains("on") ? [at] : [])),
      },
    ])),
    said: list.children.filter((one) => one.tagName === "P").map((one) => one.textContent),
    detail: detail.children.map((one) => one.textContent),
  }));
};

show();
for (const [what, ...words] of JSON.parse(fs.readFileSync(0, "utf-8"))) {
  steps[what](...words);
  show();
}
