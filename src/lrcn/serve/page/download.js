// Lists as the files that other programs read, made in the page.
import { element } from './markup.js';

const field = (value) => {
  const text = String(value ?? '');
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Rows of plain values under a header. */
export const csv = (header, rows) => [header, ...rows].map((row) => `${row.map(field).join(',')}\n`).join('');

const code = (seconds) => {
  const all = Math.round(seconds * 1000);
  const two = (value) => String(Math.floor(value)).padStart(2, '0');
  return `${two(all / 3600000)}:${two((all / 60000) % 60)}:${two((all / 1000) % 60)},${String(all % 1000).padStart(3, '0')}`;
};
// SubRip has no escapes: an invisible space keeps players from taking "<b" or "{\an" for a command.
const defused = (text) => text.replace(/\s+/g, ' ').replace(/[<{]/g, '$&\u200b').replaceAll('-->', '--\u200b>');

/** SubRip subtitles of {start, end, text}. */
export const srt = (cues) => cues
  .map(({ start, end, text }, n) => `${n + 1}\n${code(start)} --> ${code(end)}\n${defused(text)}\n`).join('\n');

export const save = (name, type, text) => {
  const link = element('a');
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

/** A file's name without its ending. */
export const stem = (name) => name.replace(/\.[^.]*$/, '');
