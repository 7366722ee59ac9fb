// Labels in their colours; those of camera moves have a sign too, so that colour never stands alone.
import { colours, css, textOn } from './palette.js';
import { element } from './markup.js';

const SIGNS = {
  static: 'M8 8h8v8H8z',
  'pan left': 'M20 12H4m6-6-6 6 6 6',
  'pan right': 'M4 12h16m-6-6 6 6-6 6',
  'tilt up': 'M12 20V4m-6 6 6-6 6 6',
  'tilt down': 'M12 4v16m-6-6 6 6 6-6',
  'zoom in': 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zm5 11.5L21 21M7.5 10.5h6m-3-3v6',
  'zoom out': 'M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zm5 11.5L21 21M7.5 10.5h6',
  'roll clockwise': 'M20 12a8 8 0 1 1-3-6.2L20 8m0-5v5h-5',
  'roll anticlockwise': 'M4 12a8 8 0 1 0 3-6.2L4 8m0-5v5h5',
};
const SVG = 'http://www.w3.org/2000/svg';

const sign = (label) => {
  if (!Object.hasOwn(SIGNS, label)) return '';
  const drawn = document.createElementNS(SVG, 'svg');
  drawn.setAttribute('class', 'icon');
  drawn.setAttribute('viewBox', '0 0 24 24');
  drawn.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', SIGNS[label]);
  drawn.append(path);
  return drawn;
};

/** A model's labels, each with its colour by its place. */
export class Labels {
  constructor(names) {
    this.names = names;
    this.rgb = colours(names.length);
    this.places = new Map(names.map((name, place) => [name, place]));
  }

  /** [red, green, blue] of a label; grey where it is none of these. */
  colour(name) { return this.rgb[this.places.get(name)] ?? [128, 132, 140]; }

  #painted(one, name) {
    one.style.background = css(this.colour(name));
    one.style.color = textOn(this.colour(name));
    return one;
  }

  /** The label's word on its colour. */
  chip(name) { return this.#painted(element('span', 'chip', sign(name), name), name); }

  /** The label's sign on its colour, and its word beside it. */
  word(name) { return [this.#painted(element('span', 'mark', sign(name)), name), element('span', '', name)]; }
}
