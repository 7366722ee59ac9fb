// Files that are chosen, dropped or pasted.
import { element } from './markup.js';

const isKind = (file, kind) => file.type.startsWith(`${kind}/`);

/** Lets a button choose a file of a kind, "image" or "video". The input is made for it alone. */
export const choose = (button, kind, take) => {
  const input = element('input');
  input.type = 'file';
  // Some films have no type that a browser knows.
  input.accept = kind === 'video' ? 'video/*,.mkv,.avi,.mov,.ts,.webm' : 'image/*';
  input.hidden = true;
  input.dataset.for = button.id;
  button.after(input);
  button.addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    if (input.files.length) take(input.files[0]);
    input.value = '';
  });
};

/** Lets a file be dropped on `place`; `refuse` is told a sentence where it is of another kind. */
export const drop = (place, kind, take, refuse) => {
  let depth = 0;
  const over = (by) => {
    depth = Math.max(depth + by, 0);
    place.classList.toggle('over', depth > 0);
  };
  place.addEventListener('dragenter', (event) => { event.preventDefault(); over(1); });
  place.addEventListener('dragover', (event) => event.preventDefault());
  place.addEventListener('dragleave', () => over(-1));
  place.addEventListener('drop', (event) => {
    event.preventDefault();
    over(-depth);
    const [file] = event.dataTransfer.files;
    if (!file) return;
    if (file.type && !isKind(file, kind)) refuse(`${file.name} is no ${kind === 'image' ? 'photo' : 'video'}.`);
    else take(file);
  });
};

/** Takes a pasted photo while `wanted` says so. */
export const paste = (wanted, take) => document.addEventListener('paste', (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((one) => isKind(one, 'image'));
  if (!file || !wanted()) return;
  event.preventDefault();
  take(file);
});

// A file that misses its place must not make the browser leave the page.
for (const name of ['dragover', 'drop']) addEventListener(name, (event) => event.preventDefault());
