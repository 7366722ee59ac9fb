// The colours of the labels, the same as lrcn.palette gives them everywhere else.

// Okabe and Ito's colours for every kind of colour vision, without black, which is lost on dark ground.
const FIRST = [[0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0], [240, 228, 66]];

// How normal, red-blind and green-blind eyes see: Machado, Oliveira and Fernandes 2009, severity 1, on linear light.
const EYES = [
  [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
];
const TO_CONES = [[0.4122215, 0.5363325, 0.051446], [0.2119035, 0.6806995, 0.107397], [0.0883025, 0.2817188, 0.6299787]];
const TO_LAB = [[0.2104543, 0.7936178, -0.0040720], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]];

const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
const times = (matrix, [a, b, c]) => matrix.map((row) => row[0] * a + row[1] * b + row[2] * c);
const inside = (value) => Math.min(Math.max(value, 0), 1);

// A colour as each eye sees it, in OKLab.
const seen = (colour) => {
  const light = colour.map(linear);
  return EYES.map((eye) => times(TO_LAB, times(TO_CONES, times(eye, light).map(inside)).map(Math.cbrt)));
};
// How far two colours are apart for the eye that tells them least apart.
const distance = (one, other) => Math.min(...one.map((lab, eye) => Math.hypot(...lab.map((v, n) => v - other[eye][n]))));

const candidates = () => {
  const steps = Array.from({ length: 22 }, (_, n) => 24 + 11 * n).filter((v) => v < 256);
  const all = steps.flatMap((r) => steps.flatMap((g) => steps.map((b) => ({ rgb: [r, g, b], lab: seen([r, g, b]), far: Infinity }))));
  // Neither lost on white paper nor on dark ground.
  return all.filter(({ lab }) => lab[0][0] > 0.5 && lab[0][0] < 0.86);
};

/** `count` colours, [red, green, blue] 0 to 255: those after the first seven as far as can be from all before. */
export const colours = (count) => {
  const chosen = FIRST.slice(0, count);
  if (count <= FIRST.length) return chosen;
  const left = candidates();
  const away = (lab) => { for (const one of left) one.far = Math.min(one.far, distance(one.lab, lab)); };
  for (const colour of chosen) away(seen(colour));
  while (chosen.length < count) {
    const best = left.reduce((a, b) => (b.far > a.far ? b : a));
    chosen.push(best.rgb);
    away(best.lab);
  }
  return chosen;
};

/** Whether dark or light text reads best on a colour. */
export const textOn = ([r, g, b]) => (0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.2 ? '#1c1f24' : '#ffffff');

export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
