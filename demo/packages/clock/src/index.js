import { roman } from '@demo/roman';

/** The hour of a clock face, from 1 to 12. */
export function hour(date) {
  return roman(date.getHours() % 12 || 12);
}
