"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = ["#2f7ed8", "#d9822b", "#3d9970", "#b5489b", "#8a6d3b", "#5f6bd8", "#c0392b", "#1a9ba1"];
  const CELL = 5; // pixels that share one mark
  const MOST_SHOWN = 50;
  const ms = (text) => Date.parse(text);
  const get = (id) => document.getElementById(id);
  const make = (name, text, className) => {
    const one = document.createElement(name);
    if (text !== undefined) one.textContent = text;
    if (className) one.className = className;
    return one;
  };
  const draw = (name, values) => {
    const one = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(values)) one.setAttribute(key, value);
    return one;
  };

  const hosts = [...new Set(data.stays.map((one) => one.host))].sort();
  const colour = (host) => COLOURS[hosts.indexOf(host) % COLOURS.length];
  for (const host of hosts) {
    const one = make("span");
    const patch = make("i");
    patch.style.background = colour(host);
    one.append(patch, host);
    get("legend").append(one);
  }

  const lanes = new Map();
  const laneOf = (one) => {
    // A namespace's number says something on one boot of one host only.
    const local = one.container.startsWith("ns:") ? ` ${one.host}${one.boot > 1 ? ` #${one.boot}` : ""}` : "";
    const key = one.name || one.container + local;
    if (!lanes.has(key)) lanes.set(key, { key, stays: [], events: [] });
    return lanes.get(key);
  };
  for (const stay of data.stays) {
    stay.from = ms(stay.born || stay.first);
    stay.to = ms(stay.ended || stay.last);
    laneOf(stay).stays.push(stay);
  }
  for (const event of data.events) {
    event.at = ms(event.time);
    event.text = Object.values(event).flat().join(" ").toLowerCase();
    laneOf(event).events.push(event);
  }
  let least = Infinity, most = -Infinity;
  for (const stay of data.stays) { least = Math.min(least, stay.from); most = Math.max(most, stay.to); }
  for (const event of data.events) { least = Math.min(least, event.at); most = Math.max(most, event.at); }
  if (!(most >= least)) return;
  const room = Math.max(1, (most - least) * 0.01);
  const whole = [least - room, most + room];
  let view = [...whole];
  let words = [];

  get("controls").hidden = get("lanes").hidden = false;

  const clock = (time, span) => {
    const text = new Date(time).toISOString();
    return span > 2 * 86400e3 ? text.slice(5, 16).replace("T", " ") : text.slice(11, span < 60e3 ? 23 : 19);
  };
  const show = (events) => {
    const detail = get("detail");
    detail.hidden = false;
    detail.replaceChildren();
    if (events.length > 1) {
      const some = events.length > MOST_SHOWN ? `, the first ${MOST_SHOWN} of them` : "";
      detail.append(make("p", `${events.length} events${some}`));
    }
    for (const one of events.slice(0, MOST_SHOWN)) {
      const login = one.auid ? `, login ${one.auid} in session ${one.ses || "none"}` : "";
      const how = `${one.time} on ${one.host}: ${one.role} by ${one.reason}${login}`;
      detail.append(make("h3", one.what), make("p", how), make("pre", one.records.join("\n")));
    }
    detail.scrollIntoView({ block: "nearest" });
  };
  const matches = (text) => words.every((word) => text.includes(word));
  const paintAxis = (list) => {
    const axis = make("div", undefined, "lane axis");
    const ticks = draw("svg", {});
    axis.append(make("span", "UTC"), ticks);
    list.append(axis);
    const width = Math.max(50, ticks.getBoundingClientRect().width);
    const span = view[1] - view[0];
    const count = Math.max(2, Math.floor(width / 130));
    for (let at = 0; at < count; at++) {
      const where = (at * width) / count;
      const label = draw("text", { x: where + 4, y: 15 });
      label.textContent = clock(view[0] + (span * at) / count, span);
      ticks.append(draw("line", { x1: where, x2: where, y1: 0, y2: 22 }), label);
    }
    return width;
  };
  const paintEvents = (svg, events, x, width) => {
    const cells = new Map();
    for (const event of events) {
      const cell = Math.floor(x(event.at) / CELL);
      if (cell < 0 || cell * CELL > width) continue;
      if (!cells.has(cell)) cells.set(cell, []);
      cells.get(cell).push(event);
    }
    for (const [cell, group] of cells) {
      const height = Math.min(14, 7 + Math.log2(group.length) * 2);
      const about = `${group.length} events from ${group[0].time}: ${group[0].what}`;
      const place = { x: cell * CELL, y: 26 - height, width: CELL - 1, height };
      const mark = draw("rect", { class: "event", ...place, tabindex: 0, role: "button", "aria-label": about });
      const open = () => {
        for (const other of document.querySelectorAll(".event.on")) other.classList.remove("on");
        mark.classList.add("on");
        show(group);
      };
      mark.addEventListener("click", open);
      mark.addEventListener("keydown", (key) => {
        if (key.key !== "Enter" && key.key !== " ") return;
        key.preventDefault();
        open();
      });
      svg.append(mark);
    }
  };
  const paint = () => {
    const list = get("lanes");
    const scrolled = list.scrollTop;
    list.replaceChildren();
    const width = paintAxis(list);
    const x = (time) => ((time - view[0]) / (view[1] - view[0])) * width;
    for (const lane of lanes.values()) {
      const about = lane.stays.map((one) => `${one.container} ${one.name} ${one.host} ${one.by}`);
      const all = matches(about.join(" ").toLowerCase());
      const events = all ? lane.events : lane.events.filter((one) => matches(one.text));
      if (!all && !events.length) continue;
      const row = make("div", undefined, "lane");
      const label = make("span", lane.key);
      const inside = lane.stays.map((one) => one.inside).find(Boolean);
      if (inside) label.append(" ", make("small", `in ${inside.split(",")[0]}`));
      label.title = label.textContent;
      const svg = draw("svg", { role: "group", "aria-label": `container ${lane.key}` });
      for (const stay of lane.stays) {
        const from = Math.max(0, x(stay.from)), to = Math.min(width, x(stay.to));
        if (to < 0 || from > width) continue;
        const size = { x: from, y: 4, width: Math.max(2, to - from), height: 22, rx: 2 };
        svg.append(draw("rect", { class: "stay", ...size, fill: colour(stay.host) }));
        if (to - from < 60) continue;
        const text = draw("text", { x: from + 4, y: 13 });
        text.textContent = stay.host.slice(0, Math.floor((to - from) / 7));
        svg.append(text);
      }
      paintEvents(svg, events, x, width);
      row.append(label, svg);
      list.append(row);
    }
    if (list.children.length === 1) list.append(make("p", "nothing fits the filter"));
    list.scrollTop = scrolled;
  };
  const move = (from, span) => {
    const start = Math.min(Math.max(from, whole[0]), whole[1] - span);
    view = [start, start + span];
    paint();
  };
  const zoom = (factor, where) => {
    const middle = where === undefined ? (view[0] + view[1]) / 2 : where;
    const span = Math.min(whole[1] - whole[0], Math.max(10, (view[1] - view[0]) * factor));
    const part = (middle - view[0]) / (view[1] - view[0]);
    move(middle - part * span, span);
  };
  const step = (part) => move(view[0] + (view[1] - view[0]) * part, view[1] - view[0]);
  const reset = () => { view = [...whole]; paint(); };
  get("in").addEventListener("click", () => zoom(0.5));
  get("out").addEventListener("click", () => zoom(2));
  get("left").addEventListener("click", () => step(-0.4));
  get("right").addEventListener("click", () => step(0.4));
  get("all").addEventListener("click", reset);
  get("filter").addEventListener("input", (event) => {
    words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    paint();
  });
  document.addEventListener("keydown", (key) => {
    if (key.target.tagName === "INPUT") return;
    if (key.key === "+") zoom(0.5);
    if (key.key === "-") zoom(2);
    if (key.key === "0") reset();
  });
  // The wheel alone scrolls through the lanes.
  get("lanes").addEventListener("wheel", (event) => {
    const svg = event.target.closest("svg");
    if (!svg || !(event.ctrlKey || event.altKey)) return;
    event.preventDefault();
    const box = svg.getBoundingClientRect();
    const where = view[0] + ((event.clientX - box.left) / box.width) * (view[1] - view[0]);
    zoom(event.deltaY > 0 ? 1.25 : 0.8, where);
  }, { passive: false });
  let held = null;
  get("lanes").addEventListener("pointerdown", (event) => {
    const svg = event.target.closest("svg");
    if (!svg || event.target.classList.contains("event")) return;
    held = { x: event.clientX, from: view[0], width: svg.getBoundingClientRect().width };
  });
  document.addEventListener("pointermove", (event) => {
    if (!held) return;
    const span = view[1] - view[0];
    move(held.from - ((event.clientX - held.x) / held.width) * span, span);
  });
  document.addEventListener("pointerup", () => { held = null; });
  window.addEventListener("resize", paint);
  paint();
})();
