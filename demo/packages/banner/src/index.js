import { title } from '@demo/case';
import { wrap } from '@demo/wrap';

/** A box with a title, and text in it. */
export function banner(name, text, width = 40) {
  const head = ` ${title(name)} `;
  const lines = wrap(text, width - 4).map((line) => `│ ${line.padEnd(width - 4)} │`);
  return [`┌${head.padEnd(width - 2, '─')}┐`, ...lines, `└${'─'.repeat(width - 2)}┘`].join('\n');
}
