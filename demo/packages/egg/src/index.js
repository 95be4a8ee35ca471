import { hen } from '@demo/hen';

/** An egg, and the hen that it becomes. */
export function egg() {
  return { kind: 'egg', hatches: () => hen() };
}
