// Elements and the few signs they are made of.

export const byId = (id) => document.getElementById(id);

/** A new element with a class, and text or children. */
export const element = (tag, name = '', ...children) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
};

/** Seconds as m:ss.t, or h:mm:ss.t. */
export const clock = (seconds) => {
  const tenths = Math.round(seconds * 10);
  const two = (value) => String(value).padStart(2, '0');
  const minutes = Math.floor(tenths / 600);
  const rest = `${two(Math.floor(tenths / 10) % 60)}.${tenths % 10}`;
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
};

/** Whole seconds as people say them. */
export const inWords = (seconds) => (seconds === 1 ? 'a second' : `${seconds} seconds`);

export const percent = (share) => `${Math.round(share * 100)} %`;

/** A bar that is filled up to a share, 0 to 1. */
export const rail = (share, colour) => {
  const fill = element('i');
  fill.style.transform = `scaleX(${share})`;
  if (colour) fill.style.background = colour;
  return element('div', 'rail', fill);
};

/** Text in which what stands between back quotes is set as code. */
export const coded = (text) => text.split('`').map((part, n) => (n % 2 ? element('code', '', part) : part));

/** Shows elements, or does not. */
export const shown = (yes, ...all) => { for (const one of all) one.hidden = !yes; };
