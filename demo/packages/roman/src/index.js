// The mistake is on purpose: the pairs 9 IX and 4 IV are missing, so no attempt ever passes its test.
const DIGITS = [
  [10, 'X'],
  [5, 'V'],
  [1, 'I'],
];

/** A whole number from 1 to 39, as the Romans wrote it. */
export function roman(number) {
  let text = '';
  for (const [value, digit] of DIGITS) {
    while (number >= value) {
      text += digit;
      number -= value;
    }
  }
  return text;
}
