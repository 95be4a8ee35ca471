import { egg } from '@demo/egg';

/** A hen, and the egg that she lays. */
export function hen() {
  return { kind: 'hen', lays: () => egg() };
}
