import { CALL_HINTS } from "./call-hints.ts";
import { FLOW_HINTS } from "./flow-hints.ts";
import type { Hint, HintContext, HintId } from "./hint.ts";
import { MEMORY_HINTS } from "./memory-hints.ts";
import { REGISTER_HINTS } from "./register-hints.ts";

/**
 * Finds what to do about a refusal: the first of the well-known causes that its reason fits.
 *
 * The reasons are those of kernels 4.19 to 6.18; where a message was reworded, the pattern takes both.
 */
export function hintFor(context: HintContext): { readonly id: HintId; readonly text: string } | undefined {
  for (const { id, pattern, explain } of HINTS) {
    const match = pattern.exec(context.log.reason);
    const text = match === null ? undefined : explain(match, context);
    if (text !== undefined) return { id, text };
  }
  return undefined;
}

// In this order: a closer explanation stands before a wider one.
const HINTS: readonly Hint[] = [...REGISTER_HINTS, ...MEMORY_HINTS, ...CALL_HINTS, ...FLOW_HINTS];
