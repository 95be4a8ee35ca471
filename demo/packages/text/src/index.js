/** The words of a text, also of a name in camelCase, kebab-case or snake_case. */
export function words(text) {
  return text
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[\s_-]+/)
    .filter((word) => word !== '');
}

/** How many characters a reader sees: a letter with its accents is one. */
export function width(text) {
  return [...new Intl.Segmenter().segment(text)].length;
}

/** The text with spaces behind it, up to a width. */
export function pad(text, to) {
  return text + ' '.repeat(Math.max(0, to - width(text)));
}
