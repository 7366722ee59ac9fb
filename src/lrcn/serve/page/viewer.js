// One photo of a list, large, with those beside it.
import { byId } from './markup.js';
import { server } from './server.js';

const dialog = byId('viewer');
let photos = [];
let place = 0;
let closed = () => {};

const show = (to) => {
  place = Math.min(Math.max(to, 0), photos.length - 1);
  const { name, score, photo } = photos[place];
  byId('viewer-name').textContent = name;
  byId('viewer-score').textContent = `${place + 1} of ${photos.length}, ${score.toFixed(2)}`;
  byId('viewer-error').textContent = '';
  byId('viewer-photo').alt = name;
  byId('viewer-photo').src = photo;
  byId('viewer-before').disabled = place === 0;
  byId('viewer-after').disabled = place === photos.length - 1;
};

// A button that was pressed until it could not be any more must not take the focus with it.
const step = (by) => {
  show(place + by);
  if (!dialog.contains(document.activeElement) || document.activeElement.disabled) byId('viewer-close').focus();
};

/** Opens the photo at a place of a list; `after` is told at which place it was closed. */
export const view = (list, at, after) => {
  photos = list;
  closed = after;
  show(at);
  dialog.showModal();
};

byId('viewer-close').addEventListener('click', () => dialog.close());
byId('viewer-before').addEventListener('click', () => step(-1));
byId('viewer-after').addEventListener('click', () => step(1));
byId('viewer-photo').addEventListener('error', () => { byId('viewer-error').textContent = 'The photo did not come.'; });
dialog.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft') step(-1);
  else if (event.key === 'ArrowRight') step(1);
});
dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener('close', () => {
  byId('viewer-photo').removeAttribute('src');
  closed(place);
});
byId('viewer-use').addEventListener('click', async () => {
  const { name, photo } = photos[place];
  try {
    const answer = await fetch(photo);
    if (!answer.ok) throw new Error();
    const file = new File([await answer.blob()], name.split('/').at(-1), { type: 'image/jpeg' });
    dialog.close();
    server.dispatchEvent(new CustomEvent('photo', { detail: file }));
  } catch {
    byId('viewer-error').textContent = 'The photo did not come.';
  }
});
