import { words } from '@demo/text';

const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase();

/** `dataBase`. */
export function camel(text) {
  const [first = '', ...rest] = words(text);
  return first.toLowerCase() + rest.map(capital).join('');
}

/** `data-base`. */
export function kebab(text) {
  return words(text).map((word) => word.toLowerCase()).join('-');
}

/** `Data Base`. */
export function title(text) {
  return words(text).map(capital).join(' ');
}
