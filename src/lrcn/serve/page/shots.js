// A list of shots or segments: its rows on the page, and the files it is kept in.
import { clock, element, percent } from './markup.js';
import { csv, srt } from './download.js';

const ofShots = (record) => Boolean(record.shots);
const list = (record) => record.shots ?? record.segments;

export const heads = (record) => (ofShots(record) ? ['Picture', 'From – to', 'Camera', 'In words'] : ['From – to', 'Label', 'Score']);

const span = ({ start, end }) => `${clock(start)} – ${Number.isFinite(end) ? clock(end) : 'end'}`;

const picture = (shot) => {
  const cell = element('td');
  if (shot.thumbnail) cell.append(Object.assign(element('img'), { src: shot.thumbnail, alt: '', width: 160, height: 100 }));
  return cell;
};

/** A row of the table; its button plays the stretch. */
export const rowOf = (one, place, labels) => {
  const button = element('button', '', span(one));
  button.type = 'button';
  button.setAttribute('aria-label', `Play ${span(one)}`);
  const label = one.move ?? one.label;
  const when = element('td', 'when', button);
  const what = element('td', '', label ? labels.chip(label) : '');
  const cells = 'label' in one
    ? [when, what, element('td', 'when', percent(one.score))]
    : [picture(one), when, what, element('td', 'said', one.sentence ?? '')];
  const row = element('tr', '', ...cells);
  row.dataset.place = place;
  return row;
};

const number = (value) => (value === null || value === undefined ? '' : value.toFixed(3));

const rows = (record) => list(record).map((one) => [record.path, number(one.start), number(one.end),
  ...(ofShots(record) ? [one.move, one.sentence] : [one.label, one.score.toFixed(4)])]);

const withoutPictures = (record) => ({
  ...record,
  ...(ofShots(record) && { shots: record.shots.map(({ thumbnail, ...rest }) => rest) }),
});

/** Each form's media type and text. */
export const forms = {
  csv: (record) => ({
    type: 'text/csv',
    text: csv(ofShots(record) ? ['path', 'start', 'end', 'move', 'sentence'] : ['path', 'start', 'end', 'label', 'score'], rows(record)),
  }),
  srt: (record) => ({
    type: 'application/x-subrip',
    text: srt(list(record).filter((one) => Number.isFinite(one.end)).map((one) => ({ start: one.start, end: one.end, text: one.sentence ?? one.label }))),
  }),
  json: (record) => ({ type: 'application/json', text: `${JSON.stringify(withoutPictures(record), null, 2)}\n` }),
};
