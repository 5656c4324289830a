import type { Misuse } from "../asm/misuse.ts";
import type { Layout } from "../btf/layout/layout.ts";
import { type If, recordIf } from "./control.ts";
import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import { checkRegion, constant, here, type OpenRecord, type Recorder } from "./recorder.ts";
import { closeReference, openReference } from "./references.ts";
import { type AddressSpace, isForeign, type Region } from "./region.ts";
import { describe, isScalar, makeCond, makeVal, operandValue } from "./scalar.ts";
import { type HostVal, internals, type Nullable, type Pointer, type PointerInternals } from "./value.ts";
import { FOREIGN, isView, makeView, pointerTo } from "./view.ts";
import type { AnyView, View } from "./view-types.ts";

/** Statements for pointers to objects of the kernel. */
export interface Pointers {
  /**
   * What happens where a helper did not give null: the pointer exists in the body only; `.else` may follow.
   *
   * What the helper acquired (a socket that a lookup found) must be given back in the body, on each of its paths.
   */
  ifPresent<Tag extends string, A>(pointer: Nullable<Tag>, body: (pointer: Pointer<Tag>) => A): If<A>;
  /**
   * Memory that is not the program's own, through a layout, read-only. `kernelLayout` of `tsbpf/kernel` makes layouts of the
   * kernel's structs; a pointer to a struct in one is that struct, so that `task.real_parent.tgid` reads through it.
   *
   * Of a pointer that a helper or the context gave, the verifier knows the type, and checks each access: for a `bpf_sock` the
   * fields of `sockContext`, for objects with a type in the kernel's BTF those of their struct. At an address (a `u64`) each
   * access is a call of `bpf_probe_read_kernel`, or of `bpf_probe_read_user` with `{ from: "user" }`. Either way 0 stands
   * for what cannot be read; `$.copy` with `{ else }` tells.
   *
   * A value that a helper gave (`bpf_sk_storage_get`, `bpf_task_storage_get`) is the program's own, and can be written.
   *
   * A view of the kernel's memory can be seen through another layout, too: that of the struct around it, or behind it.
   */
  view<Of, L extends Layout, From extends AddressSpace = "kernel">(
    of: Of & CanView<Of>,
    layout: L,
    options?: ViewOptions<From>,
  ): View<L, Of extends Pointer<"map_value"> ? "map_value" : From>;
  /** The address of memory that is not the program's own: 0 for a null pointer. */
  address(view: AnyView<"kernel"> | AnyView<"user">): HostVal<"u64">;
  /**
   * What a typed pointer of the context or of a kernel struct points to, for helpers and kernel functions that take it.
   *
   * @param tag - the struct's name: it must be that of the view's layout.
   */
  pointer<Tag extends string>(tag: Tag, view: AnyView<"kernel">): Pointer<Tag>;
}

/** A compile-time error, with a sentence, for what is not somewhere else in memory. */
export type CanView<Of> = Of extends Pointer | HostVal<"u64"> | bigint | AnyView<"kernel"> | AnyView<"user">
  ? unknown
  : Of extends Nullable
    ? Misuse<"this pointer may be null: view it inside of $.ifPresent">
    : Misuse<"$.view takes a pointer, an address (a u64), or a view of memory that is not the program's own">;

/** Options of `$.view`. */
export interface ViewOptions<From extends AddressSpace = AddressSpace> {
  /** Whose memory an address is in; default `kernel`. */
  readonly from?: From;
}

/** Makes the statements for pointers. */
export function createPointers(recorder: Recorder): Pointers {
  return {
    ifPresent: (pointer, body) => recordIfPresent(recorder, pointer, body as never) as never,
    view: (of, layout, options) => viewOf(recorder, of, layout, options) as never,
    address: (view) => addressOfView(recorder, view),
    pointer: (tag, view) => pointerOf(recorder, tag, view),
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
    // A struct may have members of these names.
    !isView(value) &&
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

function viewOf(recorder: Recorder, of: unknown, layout: Layout, options: ViewOptions = {}): unknown {
  const { from = "kernel", ...others } = options;
  checkOptions("$.view", others);
  if (from !== "kernel" && from !== "user") {
    throw new LangError(`$.view reads from the kernel or from user, not from ${describe(from)}`, here());
  }
  const at = (base: IrValue, how: Pick<Region, "name" | "probe" | "pointers" | "reference">): unknown => {
    const memory = how.probe === "user" ? "user" : "kernel";
    const facts = { slot: undefined, writable: false, scope: recorder.scope, epoch: 0 } as const;
    const region: Region = { memory, base, size: layout.size, ...facts, readOnly: FOREIGN, ...how };
    return makeView(recorder, region, 0, layout);
  };
  if (isPointer(of) && of.tag !== undefined) {
    checkPointer(recorder, of[internals]);
    const { value, reference } = of[internals];
    if (of.tag === "map_value") return valueAt(recorder, value, layout);
    return at(value, { name: `the ${of.tag}`, pointers: "typed", reference });
  }
  if (isView(of)) {
    const { region, offset, layout: known } = of[internals];
    if (!isForeign(region)) throw notForeign("$.view", of);
    const { probe, pointers, reference, name } = region;
    const base = pointerTo(recorder, region, offset);
    if (probe !== undefined) return at(base, { name, probe, pointers: probe, reference });
    // As something else than the verifier knows it to be, it is an address.
    if (known.cName === layout.cName) return at(base, { name, pointers, reference });
    return at(base, { name, probe: "kernel", pointers: "kernel", reference });
  }
  if (isScalar(of) || typeof of === "bigint") {
    return at(operandValue(recorder, "u64", of), {
      name: `the ${"name" in layout ? layout.name : layout.cName}`,
      probe: from,
      pointers: from,
    });
  }
  throw new LangError(
    `$.view takes a pointer, and this is ${isPointer(of) ? "one that may be null" : describe(of)}`,
    here(),
    "Use the pointer that the body of $.ifPresent is given.",
  );
}

/** A value of a map of storage, which belongs to a socket, a task, a cgroup. */
function valueAt(recorder: Recorder, base: IrValue, layout: Layout): unknown {
  const name = `the ${layout.cName} of a map`;
  const facts = { slot: undefined, writable: true, scope: recorder.scope, epoch: 0 } as const;
  return makeView(recorder, { memory: "map_value", base, size: layout.size, name, ...facts }, 0, layout);
}

function addressOfView(recorder: Recorder, view: AnyView): HostVal<"u64"> {
  const { region, offset } = foreign("$.address", view);
  checkRegion(recorder, region);
  return makeVal(recorder, "u64", pointerTo(recorder, region, offset)) as HostVal<"u64">;
}

function pointerOf<Tag extends string>(recorder: Recorder, tag: Tag, view: AnyView): Pointer<Tag> {
  const { region, offset, layout } = foreign("$.pointer", view);
  checkRegion(recorder, region);
  if (region.probe !== undefined || offset !== 0) {
    throw new LangError(
      `${region.name} is an address to the verifier, and no pointer to ${tag}`,
      here(),
      "Programs of tpBtf, fentry and fexit are given typed pointers, and some helpers: bpf_get_current_task_btf.",
    );
  }
  const name = "name" in layout ? layout.name : layout.cName;
  if (name !== tag) throw new LangError(`${region.name} is ${layout.cName}, not ${tag}`, here());
  const { base: value, reference, scope } = region;
  return { tag, [internals]: { value, reference, scope } };
}

function foreign(what: string, view: AnyView): AnyView[typeof internals] {
  if (!isView(view)) {
    throw new LangError(`${what} takes a view of the kernel's memory, and this is ${describe(view)}`, here());
  }
  const inside = view[internals];
  if (!isForeign(inside.region)) throw notForeign(what, view);
  return inside;
}

function notForeign(what: string, view: AnyView): LangError {
  return new LangError(
    `${what} takes a view of the kernel's memory, and this is ${describe(view)} in ${view[internals].region.name}`,
    here(),
    "What is in the program's own memory is read by its fields.",
  );
}

/** Refuses options that there are not. */
export function checkOptions(what: string, others: object): void {
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new LangError(`${what} has no option '${unknown}'`, here());
}
