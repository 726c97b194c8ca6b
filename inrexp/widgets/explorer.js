// The explorer: masks of one picture over the area, drawn in the browser. A plain ES module without a build step.
//
// `mount(root, scene, state, host)` draws a scene (scene.py) and returns its handle; `render` is anywidget's entry.
// Order: unpacking - geometry - what is shown (pure functions of scene and state) - canvases - curve - controls - mount.

// ---------------------------------------------------------------------------------------------------------- unpacking

const CUT = 127.5; // of 255; mask values above it are 1 in a binary mask

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** One answer's masks over the area. `at(area)` gives values of 0 to 255, and the area that they have. */
class Masks {
  constructor(packed, planes, areas) {
    [this.width, this.height] = packed.size;
    this.binary = packed.kind === "binary";
    this.areas = areas;
    this.length = planes.length / packed.count;
    this.planes = planes;
    for (let i = this.length; i < planes.length; i += 1) {
      planes[i] = this.binary ? planes[i] ^ planes[i - this.length] : planes[i] + planes[i - this.length];
    }
  }

  static async read(packed, areas) {
    return new Masks(packed, await inflate(packed.data), areas);
  }

  plane(index) {
    const packed = this.planes.subarray(index * this.length, (index + 1) * this.length);
    if (!this.binary) return packed;
    const values = new Uint8Array(this.width * this.height);
    for (let i = 0; i < values.length; i += 1) values[i] = (packed[i >> 3] >> (7 - (i & 7))) & 1 ? 255 : 0;
    return values;
  }

  at(area) {
    const near = nearest(this.areas, area);
    if (this.binary || this.areas.length === 1) return this.result(this.areas[near], this.plane(near));
    const [low, share] = between(this.areas, area);
    const [before, after] = [this.plane(low), this.plane(Math.min(low + 1, this.areas.length - 1))];
    const values = Float32Array.from(before, (value, i) => value + share * (after[i] - value));
    return this.result(clamp(area, this.areas[0], this.areas.at(-1)), values);
  }

  result(area, values) {
    return { area, values, width: this.width, height: this.height };
  }
}

async function loadPicture(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}

/** The scene with its pictures decoded and its masks unpacked. */
async function unpack(scene) {
  const named = Object.entries(scene.outsides).map(async ([name, url]) => [name, url && (await loadPicture(url))]);
  const answers = scene.answers.map(async (answer) => ({ ...answer, masks: await Masks.read(answer.masks, answer.areas) }));
  return {
    ...scene,
    photo: await loadPicture(scene.photo),
    outsides: Object.fromEntries(await Promise.all(named)),
    answers: await Promise.all(answers),
  };
}

// ----------------------------------------------------------------------------------------------------------- geometry

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** In tenths, and in hundredths where an area that is held has them. */
function percent(area) {
  const tenths = Math.abs(1000 * area - Math.round(1000 * area)) < 0.01;
  return `${(100 * area).toFixed(tenths ? 1 : 2)} %`;
}


function nearest(values, wanted) {
  let best = 0;
  values.forEach((value, i) => {
    if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = i;
  });
  return best;
}

/** Index of the last value at or below `wanted`, and how far on towards the next, 0 to 1. */
function between(values, wanted) {
  let low = 0;
  while (low + 2 < values.length && values[low + 1] <= wanted) low += 1;
  if (values.length < 2) return [0, 0];
  return [low, clamp((wanted - values[low]) / (values[low + 1] - values[low]), 0, 1)];
}

function interpolate(xs, ys, x) {
  const [low, share] = between(xs, x);
  return ys.length < 2 ? ys[0] : ys[low] + share * (ys[low + 1] - ys[low]);
}

/** a* of eq. 5: the smallest searched area that keeps the threshold, or null. */
function smallestArea(areas, probabilities, threshold) {
  const index = probabilities.findIndex((p) => p >= threshold);
  return index < 0 ? null : areas[index];
}

function mean(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += values[i];
  return sum / (255 * values.length);
}

/** A binomial blur of 3 px, so that the outline of zeros and ones is no staircase. */
function softened({ values, width, height }) {
  const across = new Float32Array(values.length);
  const result = new Float32Array(values.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0, i = y * width; x < width; x += 1, i += 1) {
      across[i] = (values[x ? i - 1 : i] + 2 * values[i] + values[x + 1 < width ? i + 1 : i]) / 4;
    }
  }
  for (let y = 0, i = 0; y < height; y += 1) {
    const up = y ? -width : 0;
    const down = y + 1 < height ? width : 0;
    for (let x = 0; x < width; x += 1, i += 1) result[i] = (across[i + up] + 2 * across[i] + across[i + down]) / 4;
  }
  return result;
}

// Marching squares: for each of the 16 cases of a cell's corners, the edges (0 top, 1 right, 2 bottom, 3 left) it joins.
const CASES = [[], [3, 0], [0, 1], [3, 1], [1, 2], [3, 2, 0, 1], [0, 2], [3, 2], [2, 3], [2, 0], [0, 3, 1, 2], [2, 1], [1, 3], [1, 0], [0, 3], []];

/** The line at which a mask crosses one half, in units of its pixels. */
function contour(mask) {
  const { width, height } = mask;
  const v = softened(mask);
  const path = new Path2D();
  const cross = (a, b) => (CUT - a) / (b - a);
  for (let y = 0; y + 1 < height; y += 1) {
    for (let x = 0, i = y * width; x + 1 < width; x += 1, i += 1) {
      const [a, b, c, d] = [v[i], v[i + 1], v[i + 1 + width], v[i + width]];
      const edges = CASES[(a > CUT) | ((b > CUT) << 1) | ((c > CUT) << 2) | ((d > CUT) << 3)];
      for (let k = 0; k < edges.length; k += 1) {
        const edge = edges[k];
        const px = edge === 0 ? cross(a, b) : edge === 1 ? 1 : edge === 2 ? cross(d, c) : 0;
        const py = edge === 0 ? 0 : edge === 1 ? cross(b, c) : edge === 2 ? 1 : cross(a, d);
        path[k % 2 ? "lineTo" : "moveTo"](x + px + 0.5, y + py + 0.5);
      }
    }
  }
  return path;
}

function union(masks) {
  const values = new Uint8Array(masks[0].values.length);
  for (const mask of masks) mask.values.forEach((value, i) => (values[i] = Math.min(255, values[i] + value)));
  return { ...masks[0], values };
}

/** The middle of the largest square inside the mask, in its pixels; null for an empty mask. */
function middle({ values, width, height }) {
  let [side, at, above] = [0, null, new Int32Array(width + 1)]; // the largest squares that end at the pixels above
  for (let y = 0; y < height; y += 1) {
    const row = new Int32Array(width + 1);
    for (let x = 0; x < width; x += 1) {
      if (values[y * width + x] <= CUT) continue;
      row[x + 1] = 1 + Math.min(row[x], above[x], above[x + 1]);
      if (row[x + 1] > side) [side, at] = [row[x + 1], [x + 1 - row[x + 1] / 2, y + 1 - row[x + 1] / 2]];
    }
    above = row;
  }
  return at;
}

const inverse = (mask) => ({ ...mask, values: mask.values.map((value) => 255 - value) });
const cutMask = (mask) => ({ ...mask, values: mask.values.map((value) => (value > CUT ? 255 : 0)) });

// ------------------------------------------------------------------- what is shown: pure functions of scene and state

const NOTHING = ""; // against nothing
const TOGETHER = "together"; // in the place of an answer: numbered explanations and what is left without them
const SAME_AREA = 0.0006; // half of a tenth of a percent, and a little: such areas are written alike
const LINES = ["#ffb000", "#56b4e9", "#7ee081", "#f4a6d2", "#ff8a5c", "#e8e337"]; // outlines on a photograph

const answerOf = (scene, name) => scene.answers.find((answer) => answer.name === name) ?? scene.answers[0];
const isTogether = (scene, state) => Boolean(scene.together) && state.answer === TOGETHER;
const measuredOutsides = (scene) => scene.offered.filter((name) => name in scene.outsides); // a notebook sorts keys
const anySoft = (scene) => scene.answers.some((answer) => !answer.masks.binary);

/** The positions of the slider: thousandths of the first answer's range, or the areas that it holds. */
function positions(scene) {
  const areas = scene.answers[0]?.areas ?? [];
  if (scene.answers[0]?.masks.binary || areas.length < 12) return areas;
  const count = Math.round(1000 * (areas.at(-1) - areas[0]));
  return Array.from({ length: count + 1 }, (_, i) => Number((areas[0] + i / 1000).toFixed(6)));
}

function probabilityOf(answer, outside, cut) {
  const curve = answer.curves[outside];
  return curve && ((cut && curve.cut) || curve.soft);
}

/** One answer at the state's area: mask, p, a*, and the sentence that says so. */
function reading(scene, state, name) {
  const answer = answerOf(scene, name);
  const held = answer.masks.at(state.area);
  const curve = probabilityOf(answer, state.outside, state.cut);
  const measured = Math.abs(answer.searched[nearest(answer.searched, held.area)] - held.area) < 1e-4;
  const p = curve && interpolate(answer.searched, curve, held.area);
  const star = curve && answer.sound ? smallestArea(answer.searched, curve, state.threshold) : null;
  const mask = state.cut ? cutMask(held) : held;
  return { answer, mask, area: held.area, kept: mean(mask.values), p, measured, star };
}

/** "seed 0" as it is, a bare number as "explanation 1". */
const called = (scene, name) => (/^\d+$/.test(name) && scene.what ? `${scene.what} ${name}` : name);
const pText = (one) => (one.p === undefined ? "not measured" : `${one.measured ? "" : "≈ "}${one.p.toFixed(2)}`);
const rounded = (area) => Math.round(1000 * area) / 1000;
const starText = (star) => (star === null ? "none" : percent(star));

function sentence(scene, state, one) {
  const many = scene.answers.length > 1 ? `${called(scene, one.answer.name)}: ` : "";
  const asked = `${many}area ${percent(state.area)}`;
  const kept = Math.abs(one.kept - state.area) < SAME_AREA ? "" : `, the mask keeps ${percent(rounded(one.kept))}`;
  const p = one.p === undefined ? "p is not measured" : `p ${pText(one)} of ${one.answer.unmasked.toFixed(2)} unmasked`;
  const star = one.answer.sound
    ? one.star === null ? "no area keeps the threshold" : `a* = ${percent(one.star)}`
    : "this answer explains nothing, so it has no a*";
  return `${asked}${kept}: ${p} (${one.answer.label}); ${star}.${one.answer.note ? ` ${one.answer.note}.` : ""}`;
}

function areaView(scene, state) {
  const names = state.against === NOTHING || state.against === state.answer ? [state.answer] : [state.answer, state.against];
  const rows = names.map((name) => reading(scene, state, name));
  const first = rows[0];
  const named = scene.answers.length > 1;
  return {
    rows: rows.map((one) => ({
      title: named ? called(scene, one.answer.name) : "kept inside the line",
      outlines: [{ mask: one.mask, colour: LINES[0] }],
      kept: one.mask,
      seen: one.mask,
      seenTitle: names.length > 1 ? `what the network sees: p ${pText(one)}` : "what the network sees", // the readouts say p
    })),
    readouts: [["area", percent(state.area)], ["p", pText(first)], ["a*", starText(first.star)]],
    sentences: rows.map((one) => sentence(scene, state, one)),
    plot: {
      key: JSON.stringify([names, state.outside, state.threshold]),
      range: [positions(scene)[0], positions(scene).at(-1)],
      x: state.area,
      xName: "area",
      xText: percent,
      lines: rows.map((one, i) => plotLine(one, state, i)),
      threshold: state.threshold,
      star: first.star,
    },
  };
}

function plotLine(one, state, index) {
  const curve = one.answer.curves[state.outside];
  return { name: one.answer.name, index, xs: one.answer.searched, soft: curve?.soft, cut: curve?.cut, y: one.p };
}

/** The deletion game: the union of the first n explanations, each at its own area, and what is left without them. */
function togetherView(scene, state) {
  const count = clamp(state.count, 0, scene.answers.length);
  const shown = scene.answers.slice(0, count).map((answer) => answer.masks.at(answer.own));
  const size = scene.answers[0].masks;
  const empty = { values: new Uint8Array(size.width * size.height), width: size.width, height: size.height };
  const removed = union([empty, ...shown]);
  const left = scene.together.left[count];
  const label = scene.answers[0].label;
  return {
    rows: [{
      title: count === 1 ? "explanation 1" : `union of the first ${count}`,
      outlines: shown.map((mask, i) => ({ mask, colour: LINES[i % LINES.length], name: scene.answers[i].name })),
      kept: removed,
      seen: inverse(removed),
      seenTitle: `what is left without: p ${left.toFixed(2)}`,
      outside: measuredOutsides(scene)[0], // under which the run measured it
    }],
    readouts: [["removed", `${count} of ${scene.answers.length}`], ["p left", left.toFixed(2)], ["area", percent(rounded(mean(removed.values)))]],
    sentences: [`Without the first ${count} of ${scene.answers.length} explanations: p ${left.toFixed(2)} (${label}).`],
    plot: {
      key: "together",
      range: [0, scene.answers.length],
      x: count,
      xName: "explanations removed",
      xText: String,
      lines: [{ name: "p left", index: 0, xs: scene.together.left.map((_, i) => i), soft: scene.together.left, y: left }],
      threshold: scene.together.threshold,
      star: null,
    },
  };
}

const viewOf = (scene, state) => (isTogether(scene, state) ? togetherView(scene, state) : areaView(scene, state));

// ----------------------------------------------------------------------------------------------------------- canvases

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** The photograph in the forms that drawing needs, and the scratch canvases for it. */
class Stage {
  constructor(scene) {
    this.outsides = scene.outsides;
    [this.width, this.height] = scene.size;
    const scale = Math.max(1, Math.round(480 / this.width));
    [this.wide, this.high] = [scale * this.width, scale * this.height];
    this.photo = this.copy(scene.photo, this.wide, this.high);
    this.exact = this.copy(scene.photo, this.width, this.height); // as many pixels as the network sees
    this.removed = this.dimmed();
    this.scratch = newCanvas(this.wide, this.high);
    this.small = newCanvas(this.width, this.height);
    this.tiny = newCanvas(1, 1);
  }

  copy(picture, width, height) {
    const canvas = newCanvas(width, height);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, width, height);
    return canvas;
  }

  dimmed() {
    const canvas = this.copy(this.photo, this.wide, this.high);
    const pen = canvas.getContext("2d");
    pen.globalCompositeOperation = "saturation";
    pen.fillStyle = "rgba(128, 128, 128, 0.5)";
    pen.fillRect(0, 0, this.wide, this.high);
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = "rgba(0, 0, 0, 0.58)";
    pen.fillRect(0, 0, this.wide, this.high);
    return canvas;
  }

  /** `picture` where the mask keeps it, transparent elsewhere, on a canvas of `scratch`'s kind. */
  cutOut(picture, mask, scratch) {
    const alpha = new ImageData(mask.width, mask.height);
    for (let i = 0; i < mask.values.length; i += 1) alpha.data[4 * i + 3] = mask.values[i];
    if (this.tiny.width !== mask.width || this.tiny.height !== mask.height) this.tiny = newCanvas(mask.width, mask.height);
    this.tiny.getContext("2d").putImageData(alpha, 0, 0);
    const pen = scratch.getContext("2d");
    pen.globalCompositeOperation = "copy";
    pen.drawImage(this.tiny, 0, 0, scratch.width, scratch.height);
    pen.globalCompositeOperation = "source-in";
    pen.drawImage(picture, 0, 0);
    return scratch;
  }

  drawOutlined(canvas, kept, outlines) {
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.removed, 0, 0);
    pen.drawImage(this.cutOut(this.photo, kept, this.scratch), 0, 0);
    for (const outline of outlines) this.drawLine(pen, outline);
    for (const outline of outlines) if (outline.name) this.drawName(pen, outline);
  }

  /** The outline's name in its colour, where its mask has most room. */
  drawName(pen, { mask, colour, name }) {
    const at = middle(mask);
    if (!at) return;
    const scale = this.wide / mask.width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.font = `600 ${Math.round(this.wide / 18)}px system-ui, sans-serif`;
    Object.assign(pen, { textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: this.wide / 90 });
    Object.assign(pen, { strokeStyle: "rgba(0, 0, 0, 0.85)", fillStyle: colour });
    pen.strokeText(name, scale * at[0], scale * at[1]);
    pen.fillText(name, scale * at[0], scale * at[1]);
  }

  drawLine(pen, { mask, colour }) {
    const scale = this.wide / mask.width;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.lineCap = "round";
    const path = contour(mask);
    for (const [style, width] of [["rgba(0, 0, 0, 0.85)", 5], [colour, 2.5]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width / scale;
      pen.stroke(path);
    }
  }

  drawSeen(canvas, mask, outside) {
    const pen = canvas.getContext("2d");
    const perturbed = this.outsides[outside];
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, this.width, this.height);
    if (perturbed) pen.drawImage(perturbed, 0, 0, this.width, this.height);
    pen.drawImage(this.cutOut(this.exact, mask, this.small), 0, 0);
  }
}

// -------------------------------------------------------------------------------------------------------------- curve

const PLOT = { width: 340, height: 210, left: 34, right: 12, top: 14, bottom: 40 };

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** Probability over area as SVG: axes and lines are drawn anew when they change, the cursor moves. */
class Plot {
  constructor(onMove) {
    this.svg = draw("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", class: "inrexp-plot" });
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      onMove(this.value(event));
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (this.svg.hasPointerCapture(event.pointerId)) onMove(this.value(event));
    });
  }

  value(event) {
    const box = this.svg.getBoundingClientRect();
    const inside = ((event.clientX - box.left) / box.width) * PLOT.width;
    const share = (inside - PLOT.left) / (PLOT.width - PLOT.left - PLOT.right);
    return this.range[0] + clamp(share, 0, 1) * (this.range[1] - this.range[0]);
  }

  x(value) {
    const [low, high] = this.range;
    return PLOT.left + ((PLOT.width - PLOT.left - PLOT.right) * (value - low)) / (high - low || 1);
  }

  y(value) {
    return PLOT.top + (PLOT.height - PLOT.top - PLOT.bottom) * (1 - value);
  }

  show(plot) {
    this.range = plot.range;
    if (plot.key !== this.key) this.drawAll(plot);
    this.key = plot.key;
    this.cursor.setAttribute("transform", `translate(${this.x(plot.x)} 0)`);
    plot.lines.forEach((line, i) => {
      this.dots[i].setAttribute("visibility", line.y === undefined ? "hidden" : "visible");
      if (line.y !== undefined) this.dots[i].setAttribute("cy", this.y(line.y));
    });
  }

  drawAll(plot) {
    this.cursor = draw("g");
    this.dots = plot.lines.map((line) => draw("circle", { class: `inrexp-dot inrexp-line-${line.index}`, r: 5 }));
    this.cursor.append(draw("path", { class: "inrexp-cursor", d: `M0 ${this.y(1)}V${this.y(0)}` }), ...this.dots);
    const lines = plot.lines.flatMap((line) => this.lines(line));
    this.svg.replaceChildren(...this.axes(plot), ...lines, ...this.threshold(plot), this.cursor, ...this.legend(plot));
  }

  axes({ range: [low, high], xName, xText }) {
    const label = (text, x, y, anchor) => draw("text", { x, y, "text-anchor": anchor }, text);
    const base = this.y(0);
    return [
      draw("path", { class: "inrexp-axis", d: `M${this.x(low)} ${this.y(1)}V${base}H${this.x(high)}` }),
      ...[0, 0.5, 1].map((p) => label(String(p), PLOT.left - 6, this.y(p) + 4, "end")),
      label(xText(low), this.x(low), base + 15, "start"),
      label(xText(high), this.x(high), base + 15, "end"),
      label(xName, (this.x(low) + this.x(high)) / 2, base + 15, "middle"),
      label("p", PLOT.left - 6, this.y(0.75) + 4, "end"),
    ];
  }

  lines({ xs, soft, cut, index }) {
    const points = (ys) => xs.map((x, i) => `${this.x(x).toFixed(1)},${this.y(ys[i]).toFixed(1)}`).join(" ");
    const line = (ys, extra) => draw("polyline", { class: `inrexp-curve inrexp-line-${index} ${extra}`, points: points(ys) });
    return [...(soft ? [line(soft, "")] : []), ...(cut ? [line(cut, "inrexp-dashed")] : [])];
  }

  threshold({ threshold, star, range }) {
    const y = this.y(threshold);
    const parts = [draw("path", { class: "inrexp-threshold", d: `M${this.x(range[0])} ${y}H${this.x(range[1])}` })];
    if (star !== null) {
      const x = this.x(star);
      parts.push(
        draw("path", { class: "inrexp-threshold", d: `M${x} ${y}V${this.y(0)}` }),
        draw("path", { class: "inrexp-star", d: `M${x} ${y - 6}l6 6l-6 6l-6-6z` }),
        draw("text", { x: x + (x < PLOT.width - 40 ? 9 : -9), y: y + 13, "text-anchor": x < PLOT.width - 40 ? "start" : "end" }, "a*"),
      );
    }
    return parts;
  }

  legend({ lines }) {
    const text = draw("text", { x: PLOT.left, y: PLOT.height - 6 });
    const add = (words, attributes = {}) => text.append(draw("tspan", attributes, `${text.childNodes.length ? "   " : ""}${words}`));
    const dashed = lines.some((line) => line.cut);
    if (lines.length > 1 || dashed) {
      for (const { index, name } of lines) add(`― ${name}`, { class: `inrexp-name inrexp-line-${index}` });
    }
    if (dashed) add("(dashed: cut to 0/1)");
    return text.childNodes.length ? [text] : [];
  }
}

// ----------------------------------------------------------------------------------------------------------- controls

const KEYS = { "data-lm-suppress-shortcuts": "true" }; // else JupyterLab takes the arrow keys from the focused control
let instances = 0; // names of radio groups must differ on a page

/** A slider with its label and its value as text; `show(value, text)` moves it. */
function slider(label, key, onInput, onChange) {
  const input = make("input", { type: "range", "data-key": key, "aria-label": label, ...KEYS });
  const value = make("span", { className: "inrexp-value", "aria-hidden": "true" }); // the input says it
  input.addEventListener("input", () => onInput(Number(input.value)));
  input.addEventListener("change", onChange);
  const name = make("span", {}, label);
  const element = make("label", { className: `inrexp-slider inrexp-${key}` }, name, input, value);
  const show = ({ min, max, step, now, text, spoken, called = label }) => {
    Object.assign(input, { min, max, step });
    input.value = now;
    input.setAttribute("aria-label", called);
    input.setAttribute("aria-valuetext", spoken ?? text);
    name.textContent = called;
    value.textContent = text;
  };
  return { element, input, show };
}

/** One of several, as radio buttons in a row; many or long names become a menu. */
function choice(label, key, options, now, onChoose) {
  const long = options.reduce((sum, [, text]) => sum + text.length + 3, 0) > 44;
  return long ? menu(label, key, options, now, onChoose) : radios(label, key, options, now, onChoose);
}

function menu(label, key, options, now, onChoose) {
  const select = make("select", { "data-key": key, ...KEYS });
  for (const [value, text] of options) select.append(make("option", { value, textContent: text, selected: value === now }));
  select.addEventListener("change", () => onChoose(select.value));
  return make("label", { className: "inrexp-choice" }, make("span", {}, label), select);
}

function radios(label, key, options, now, onChoose) {
  const group = make("fieldset", { className: "inrexp-choice" }, make("legend", {}, label));
  const name = `inrexp-${key}-${(instances += 1)}`;
  for (const [value, text] of options) {
    const input = make("input", { type: "radio", name, value, checked: value === now, "data-key": `${key}:${value}`, ...KEYS });
    input.addEventListener("change", () => onChoose(value));
    group.append(make("label", {}, input, make("span", {}, text)));
  }
  return group;
}

// -------------------------------------------------------------------------------------------------------------- mount

/** A picture with a title below it. */
function panel(width, height, role) {
  const canvas = newCanvas(width, height);
  canvas.setAttribute("role", "img");
  const title = make("div", { className: "inrexp-caption" });
  return { canvas, title, element: make("div", { className: `inrexp-panel inrexp-${role}` }, canvas, title) };
}

class Explorer {
  constructor(root, scene, state, host) {
    Object.assign(this, { root, host, stage: new Stage(scene), scene });
    this.state = { ...startState(scene), ...state };
    this.build();
    this.update({});
  }

  build() {
    const focused = this.root.ownerDocument.activeElement?.dataset?.key;
    const { width, height, wide, high } = this.stage;
    this.pairs = [0, 1].map(() => ({ outlined: panel(wide, high, "outlined"), seen: panel(width, height, "seen") }));
    this.plot = new Plot((value) => this.moveTo(value));
    this.area = slider("area", "area", (value) => this.slide(value), () => this.commit());
    this.threshold = slider("threshold", "threshold", (value) => this.update({ threshold: value }), () => this.commit());
    this.readouts = make("div", { className: "inrexp-readouts" });
    this.sentence = make("div", { className: "inrexp-sentence" });
    this.live = make("p", { className: "inrexp-spoken", role: "status", "aria-live": "polite" });
    this.progress = make("progress", { max: 1, value: 0, "aria-label": "progress of the fit" });
    this.controls = make("div", { className: "inrexp-controls" });
    const [first, second] = this.pairs;
    this.pictures = make("div", { className: "inrexp-pictures" }, first.outlined.element, first.seen.element);
    this.lower = make("div", { className: "inrexp-pictures inrexp-second" }, second.outlined.element, second.seen.element);
    this.side = make("div", { className: "inrexp-side" }, this.plot.svg, this.threshold.element, this.controls);
    this.frame = make("div", { className: "inrexp-frame" },
      make("div", { className: "inrexp-main" }, this.pictures, this.area.element, this.readouts, this.progress, this.sentence, this.lower), this.side);
    this.root.replaceChildren(make("div", { className: "inrexp", role: "group", "aria-label": this.title() }, this.frame, this.live));
    this.fillControls();
    if (focused) this.root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  title() {
    const label = this.scene.answers[0]?.label;
    return label ? `Explorer of masks for ${label}` : "The picture that is explained";
  }

  fillControls() {
    const { scene, state } = this;
    const names = scene.answers.map((answer) => [answer.name, answer.name]);
    const has = (control) => !scene.controls || scene.controls.includes(control);
    const found = [];
    const add = (label, key, options, now, choose) => {
      if (options.length > 1 && has(key)) found.push([choice(label, key, options, now, choose), key]);
    };
    const set = (key) => (value) => this.choose({ [key]: value });
    const all = scene.together ? [...names, [TOGETHER, "together"]] : names;
    add(scene.what ?? "answer", "answer", all, state.answer, set("answer"));
    add("against", "against", names.length > 1 && !scene.together ? [[NOTHING, "nothing"], ...names] : [], state.against, set("against"));
    add("mask", "view", anySoft(scene) ? [["soft", "soft"], ["cut", "cut to 0/1"]] : [], state.cut ? "cut" : "soft", (view) => this.choose({ cut: view === "cut" }));
    add("outside", "outside", this.outsides().map((name) => [name, name]), state.outside, (name) => this.chooseOutside(name));
    this.controls.replaceChildren(...found.map(([element]) => element));
    this.single = found.filter(([, key]) => key !== "answer").map(([element]) => element);
    if (has("threshold")) this.side.insertBefore(this.threshold.element, this.controls);
    else this.threshold.element.remove();
  }

  /** What is measured, and where a kernel answers what it could measure. */
  outsides() {
    return this.host.live ? this.scene.offered : measuredOutsides(this.scene);
  }

  setLive() {
    this.host.live = true;
    this.fillControls();
  }

  chooseOutside(name) {
    if (name in this.scene.outsides) this.choose({ outside: name });
    else this.host.measure?.(name);
  }

  choose(change) {
    this.update(change);
    this.commit();
  }

  commit() {
    this.host.changed?.(this.state);
  }

  /** The plot was touched at this area, or at this count of explanations. */
  moveTo(value) {
    this.slide(isTogether(this.scene, this.state) ? Math.round(value) : nearest(positions(this.scene), value));
    this.commit();
  }

  slide(index) {
    this.update(isTogether(this.scene, this.state) ? { count: index } : { area: positions(this.scene)[index] });
  }

  update(change) {
    Object.assign(this.state, change);
    if (!this.pending) this.pending = requestAnimationFrame(() => this.show());
  }

  show() {
    this.pending = null;
    if (this.growing) this.showGrowing();
    else if (this.scene.answers.length) this.showView(viewOf(this.scene, this.state));
    else this.showPicture();
  }

  showView(view) {
    this.layOut("answers");
    this.lower.hidden = view.rows.length < 2;
    for (const element of [...this.single, this.threshold.element]) element.hidden = isTogether(this.scene, this.state);
    view.rows.forEach((row, i) => this.showRow(row, this.pairs[i]));
    this.showReadouts(view.readouts);
    this.sentence.replaceChildren(...view.sentences.map((text) => make("p", {}, text)));
    this.plot.show(view.plot);
    this.plot.svg.setAttribute("aria-label", `Probability over ${view.plot.xName}. ${view.sentences.join(" ")}`);
    this.showSliders(view);
    this.say(view.sentences.join(" "));
  }

  showRow(row, { outlined, seen }) {
    this.stage.drawOutlined(outlined.canvas, row.kept, row.outlines);
    this.stage.drawSeen(seen.canvas, row.seen, row.outside ?? this.state.outside);
    describe(outlined, row.title);
    describe(seen, row.seenTitle);
  }

  showReadouts(pairs) {
    if (this.readouts.childElementCount !== pairs.length) {
      this.readouts.replaceChildren(...pairs.map(() => make("div", {}, make("span"), make("strong"))));
    }
    pairs.forEach(([name, value], i) => {
      const [term, number] = this.readouts.children[i].children;
      term.textContent = name;
      number.textContent = value;
    });
  }

  showSliders(view) {
    const { scene, state } = this;
    const spoken = view.sentences[0];
    if (isTogether(scene, state)) {
      const text = `${state.count} removed`;
      this.area.show({ min: 0, max: scene.answers.length, step: 1, now: state.count, text, spoken, called: "removed" });
    } else {
      const areas = positions(scene);
      const now = nearest(areas, state.area);
      this.area.show({ min: 0, max: areas.length - 1, step: 1, now, text: percent(state.area), spoken });
    }
    const stars = view.readouts.find(([name]) => name === "a*")?.[1];
    const said = `${state.threshold.toFixed(2)}, a* ${stars ?? "none"}`;
    this.threshold.show({ min: 0, max: 1, step: 0.01, now: state.threshold, text: state.threshold.toFixed(2), spoken: said });
  }

  showPicture() {
    this.layOut("picture");
    const [{ outlined }] = this.pairs;
    outlined.canvas.getContext("2d").setTransform(1, 0, 0, 1, 0, 0);
    outlined.canvas.getContext("2d").drawImage(this.stage.photo, 0, 0);
    describe(outlined, "the picture as the network sees it");
  }

  showGrowing() {
    const { mask, area, p, step, steps, left } = this.growing;
    this.layOut("growing");
    const title = `the mask for ${percent(area)} of the picture`;
    this.showRow({ kept: mask, outlines: [{ mask, colour: LINES[0] }], title, seen: mask, seenTitle: `what the network sees: p = ${p.toFixed(2)}` }, this.pairs[0]);
    this.progress.value = step / steps;
    const text = `Step ${step} of ${steps}, about ${left.toFixed(0)} s left.`;
    this.sentence.replaceChildren(make("p", {}, text));
    this.say(`${text} p = ${p.toFixed(2)}`);
  }

  layOut(kind) {
    const [{ seen }] = this.pairs;
    this.frame.dataset.kind = kind;
    this.side.hidden = this.readouts.hidden = this.area.element.hidden = kind !== "answers";
    this.progress.hidden = kind !== "growing";
    seen.element.hidden = kind === "picture";
    if (kind !== "answers") this.lower.hidden = true;
  }

  /** For a screen reader, once the hand rests. */
  say(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => (this.live.textContent = text), 400);
  }

  replace(scene) {
    this.scene = scene;
    this.stage = new Stage(scene);
    this.growing = null;
    this.state = { ...startState(scene), ...this.state };
    this.build();
    this.update({});
  }

  grow(growing) {
    this.growing = growing;
    this.update({});
  }

  close() {
    cancelAnimationFrame(this.pending);
    clearTimeout(this.speaking);
    this.root.replaceChildren();
  }
}

function describe({ canvas, title }, text) {
  title.textContent = text;
  canvas.setAttribute("aria-label", text);
}

function startState(scene) {
  const areas = positions(scene);
  return {
    area: areas[nearest(areas, 0.1)] ?? 0.1,
    threshold: scene.threshold ?? 0.5,
    answer: scene.answers[0]?.name ?? "",
    against: NOTHING,
    cut: false,
    outside: measuredOutsides(scene)[0],
    count: scene.answers.length,
  };
}

/** Draw a scene into `root`. host: { live, changed(state), measure(outside) }, all of it optional. */
async function mount(root, scene, state = {}, host = {}) {
  return new Explorer(root, await unpack(scene), state, host);
}

// ------------------------------------------------------------------------------------------- anywidget: traits <-> state

const TRAITS = ["area", "threshold", "answer", "against", "cut", "outside", "count"];

const readTraits = (model) => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));

function writeTraits(model, state) {
  for (const name of TRAITS) if (model.get(name) !== state[name]) model.set(name, state[name]);
  model.save_changes();
}

async function readGrowing(model) {
  const growing = model.get("growing");
  if (!growing.mask) return null;
  return { ...growing, mask: (await Masks.read(growing.mask, [growing.area])).at(growing.area) };
}

async function render({ model, el }) {
  const host = {
    live: false,
    changed: (state) => writeTraits(model, state),
    measure: (outside) => model.send({ measure: outside }),
  };
  const explorer = await mount(el, model.get("scene"), readTraits(model), host);
  const listeners = {
    "change:scene": async () => explorer.replace(await unpack(model.get("scene"))),
    "change:growing": async () => {
      const told = model.get("growing");
      const growing = await readGrowing(model);
      if (told === model.get("growing")) explorer.grow(growing); // else a later one came meanwhile
    },
    "msg:custom": (message) => message.live && explorer.setLive(),
  };
  for (const name of TRAITS) {
    listeners[`change:${name}`] = () => {
      if (explorer.state[name] === model.get(name)) return; // the hand's own change, or nothing new
      explorer.update({ [name]: model.get(name) });
      explorer.fillControls();
    };
  }
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  try {
    model.send({ hello: true }); // a kernel answers, a saved page does not
  } catch {
    host.live = false;
  }
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
    explorer.close();
  };
}

export default { render, mount };
