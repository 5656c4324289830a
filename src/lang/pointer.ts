import type { Layout } from "../btf/layout/layout.ts";
import { type If, recordIf } from "./control.ts";
import { LangError } from "./error.ts";
import { constant, here, type OpenRecord, type Recorder } from "./recorder.ts";
import { closeReference, openReference } from "./references.ts";
import type { Region } from "./region.ts";
import { describe, makeCond } from "./scalar.ts";
import { internals, type Nullable, type Pointer, type PointerInternals } from "./value.ts";
import { makeView } from "./view.ts";
import type { View } from "./view-types.ts";

/** Statements for pointers to objects of the kernel. */
export interface Pointers {
  /**
   * What happens where a helper did not give null: the pointer exists in the body only; `.else` may follow.
   *
   * What the helper acquired (a socket that a lookup found) must be given back in the body, on each of its paths.
   */
  ifPresent<Tag extends string, A>(pointer: Nullable<Tag>, body: (pointer: Pointer<Tag>) => A): If<A>;
  /**
   * The memory behind a pointer through a layout, read-only. The verifier checks each access: for a `bpf_sock` the fields of
   * `sockContext`, for objects with a type in the kernel's BTF those of their struct.
   */
  view<L extends Layout>(pointer: Pointer, layout: L): View<L, "kernel">;
}

/** Makes the statements for pointers. */
export function createPointers(recorder: Recorder): Pointers {
  return {
    ifPresent: (pointer, body) => recordIfPresent(recorder, pointer, body as never) as never,
    view: (pointer, layout) => viewOf(recorder, pointer, layout),
  };
}

/** Whether something is a pointer, null or not. */
export function isPointer(value: unknown): value is {
  readonly tag?: string;
  readonly nullable?: string;
  readonly [internals]: PointerInternals;
} {
  return (
    typeof value === "object" &&
    value !== null &&
    internals in value &&
    ("tag" in value || "nullable" in value)
  );
}

/** Refuses a pointer that is not good here, or not any more. */
export function checkPointer(recorder: Recorder, { reference, scope }: PointerInternals): void {
  if (scope !== undefined && !scope.inside) {
    throw new LangError(
      "a pointer is used outside of the branch that it exists in",
      here(),
      "Use it inside of the body of $.ifPresent.",
    );
  }
  if (reference !== undefined && !recorder.open.has(reference)) {
    throw new LangError(
      `${reference.name} cannot be used any more: it was ${reference.done}`,
      here(),
      `Use it first, then call ${reference.remedy}.`,
    );
  }
}

function recordIfPresent(
  recorder: Recorder,
  pointer: Nullable,
  body: (pointer: Pointer) => unknown,
): If<unknown> {
  if (!isPointer(pointer) || pointer.nullable === undefined) {
    throw new LangError(
      `$.ifPresent takes a pointer that may be null, and this is ${isPointer(pointer) ? "one that never is" : describe(pointer)}`,
      here(),
      "Helpers that look something up give one. For maps there is $.lookup.",
    );
  }
  const { value, reference } = pointer[internals];
  checkPointer(recorder, pointer[internals]);
  const present = makeCond(recorder, { kind: "compare", op: "ne", width: 64, a: value, b: constant(0) });
  // Where it is null there is nothing to give back.
  if (reference !== undefined) closeReference(recorder, reference);
  return recordIf(recorder, present, () => {
    if (reference !== undefined) openReference(recorder, reference);
    const inside: PointerInternals = { value, reference, scope: recorder.scope };
    const result = body({ tag: pointer.nullable as string, [internals]: inside });
    if (recorder.block !== undefined && reference !== undefined && recorder.open.has(reference)) {
      throw unreleased(reference);
    }
    return result;
  });
}

function unreleased({ name, undone, remedy, source }: OpenRecord): LangError {
  return new LangError(
    `${name} is ${undone} at the end of $.ifPresent's body`,
    source,
    `The kernel refuses a program that may keep it: call ${remedy} on each path of the body.`,
  );
}

function viewOf<L extends Layout>(recorder: Recorder, pointer: Pointer, layout: L): View<L, "kernel"> {
  if (!isPointer(pointer) || pointer.tag === undefined) {
    throw new LangError(
      `$.view takes a pointer, and this is ${isPointer(pointer) ? "one that may be null" : describe(pointer)}`,
      here(),
      "Use the pointer that the body of $.ifPresent is given.",
    );
  }
  checkPointer(recorder, pointer[internals]);
  const region: Region = {
    memory: "kernel",
    base: pointer[internals].value,
    size: layout.size,
    slot: undefined,
    name: `the ${pointer.tag}`,
    writable: false,
    scope: recorder.scope,
    epoch: 0,
    reference: pointer[internals].reference,
  };
  return makeView<L, "kernel">(recorder, region, 0, layout);
}
