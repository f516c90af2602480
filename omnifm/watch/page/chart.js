// Drawings as SVG, in the size of the place where they stand. Colours and dashes are classes of watch.css.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 7;

export function drawn(tag, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

// Colour and dash of the n-th hospital: colour is never the only sign.
export function style(place) {
  return `s${place % COLOURS} d${Math.floor(place / COLOURS) % 3}`;
}

export function swatch(look) {
  const svg = drawn("svg", { viewBox: "0 0 32 8", "aria-hidden": "true" });
  svg.append(drawn("path", { d: "M0 4H32", class: `line strong ${look}` }));
  return svg;
}

// Round numbers from low to high, about `count` of them.
export function ticks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) {
    found.push(Number(tick.toPrecision(12)));
  }
  return found;
}

function emptied(svg, label) {
  svg.replaceChildren();
  const width = Math.max(svg.clientWidth, 200);
  const height = Math.max(svg.clientHeight, 120);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  return [width, height];
}

function path(points) {
  return points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

// Curves of hospitals and their mean: {rounds, mean, curves: [{values, place}], chosen, cursor, label}.
export function lineChart(svg, { rounds, mean, curves, chosen, cursor, label }) {
  const [width, height] = emptied(svg, label);
  const values = [...mean, ...curves.flatMap((curve) => curve.values)].filter((value) => value !== null);
  if (!values.length) {
    svg.append(drawn("text", { x: 8, y: height / 2 }, "Nothing measured yet."));
    return;
  }
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - (low >= 0 && low < margin ? low : margin), high + margin];
  const marks = ticks(low, high, height > 210 ? 5 : 4);
  const names = marks.map((mark) => String(mark).replace("-", "−"));
  const left = 10 + 7 * Math.max(...names.map((name) => name.length));
  const [top, right, bottom] = [8, 12, 34];
  const [first, last] = [rounds[0], rounds[rounds.length - 1]];
  const x = (round) => left + ((round - first) / (last - first || 1)) * (width - left - right);
  const y = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  marks.forEach((mark, place) => {
    svg.append(drawn("path", { d: `M${left} ${y(mark).toFixed(1)}H${width - right}`, class: "grid" }));
    svg.append(drawn("text", { x: left - 5, y: y(mark) + 4, "text-anchor": "end" }, names[place]));
  });
  for (const mark of ticks(first, last, Math.min(8, (width - left) / 60)).filter(Number.isInteger)) {
    svg.append(drawn("text", { x: x(mark), y: height - bottom + 16, "text-anchor": "middle" }, String(mark)));
  }
  svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "round"));
  if (cursor !== null) svg.append(drawn("path", { d: `M${x(cursor).toFixed(1)} ${top}V${height - bottom}`, class: "cursor" }));
  const draw = (series, look) => {
    const points = series.map((value, place) => (value === null ? null : [x(rounds[place]), y(value)])).filter(Boolean);
    if (points.length > 1) svg.append(drawn("path", { d: path(points), class: `line ${look}` }));
    const marked = points.length === 1 ? points : cursor === null ? [] : [series[rounds.indexOf(cursor)]].filter((v) => v != null).map((v) => [x(cursor), y(v)]);
    for (const [cx, cy] of marked) svg.append(drawn("circle", { cx, cy, r: 3.5, class: `dot ${look}` }));
  };
  for (const { values: series, place } of curves) {
    draw(series, `${style(place)} ${chosen === null ? "" : place === chosen ? "strong" : "faded"}`);
  }
  draw(mean, `mean ${chosen === null ? "" : "faded"}`);
}

// A line for each hospital and a bar while it is in a circle; blank: it is alone. {rounds, clients, label}.
export function circleChart(svg, { rounds, clients, label }) {
  const row = clients.length > 24 ? 16 : 22;
  svg.style.height = `${clients.length * row + 36}px`;
  const [width, height] = emptied(svg, label);
  const longest = Math.max(...clients.map((client) => client.name.length));
  const room = Math.min(longest, width < 500 ? 12 : 24);
  const left = 10 + 7.2 * room;
  const each = (width - left - 8) / rounds.length;
  const known = new Map();
  for (const circle of [...clients.map((c) => c.circles.at(-1)), ...clients.flatMap((c) => c.circles)]) {
    if (circle !== null && circle !== undefined && !known.has(circle)) known.set(circle, known.size % COLOURS);
  }
  clients.forEach(({ name, circles }, line) => {
    const shown = name.length > room ? `${name.slice(0, room - 1)}…` : name;
    svg.append(drawn("text", { x: left - 6, y: line * row + row * 0.7, "text-anchor": "end" }, shown));
    for (let start = 0; start < circles.length; ) {
      let end = start;
      while (end < circles.length && circles[end] === circles[start]) end += 1;
      const wide = (end - start) * each;
      if (circles[start] !== null) {
        const place = { x: left + start * each, y: line * row + 2, width: wide, height: row - 4 };
        svg.append(drawn("rect", { ...place, class: `c${known.get(circles[start])}` }));
        if (wide > 9 * String(circles[start]).length) {
          const dark = known.get(circles[start]) === 0 ? " on-dark" : "";
          const at = { x: place.x + wide / 2, y: line * row + row * 0.5 + 4, class: `circle-number${dark}` };
          svg.append(drawn("text", at, String(circles[start])));
        }
      }
      start = end;
    }
  });
  const count = Math.min(8, rounds.length, Math.max(1, Math.floor((width - left) / 50)));
  for (const mark of ticks(rounds[0], rounds.at(-1), count).filter((mark) => rounds.includes(mark))) {
    const at = { x: left + (rounds.indexOf(mark) + 0.5) * each, y: height - 18, "text-anchor": "middle" };
    svg.append(drawn("text", at, String(mark)));
  }
  svg.append(drawn("text", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }, "round"));
}
