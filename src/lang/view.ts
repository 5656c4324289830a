import { LITTLE_ENDIAN } from "../base/host.ts";
import { suggest } from "../base/suggest.ts";
import { type ArrayLayout, array } from "../btf/layout/array.ts";
import type { DataLocLayout } from "../btf/layout/data-loc.ts";
import type { BitsInPlace, Field } from "../btf/layout/field.ts";
import type { Layout } from "../btf/layout/layout.ts";
import type { PointerLayout } from "../btf/layout/pointer.ts";
import { u8 } from "../btf/layout/scalar.ts";
import { binary } from "./arithmetic.ts";
import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import { isScalarKind, KINDS, type ScalarKind } from "./kind.ts";
import { copyFrom, readMemory } from "./memory.ts";
import { writePlace } from "./place.ts";
import {
  addToPointer,
  branch,
  checkRegion,
  checkWritable,
  constant,
  currentBlock,
  emit,
  frame,
  here,
  inScope,
  memoryOf,
  newBlock,
  newSlot,
  pathState,
  type Recorder,
  restore,
  store,
} from "./recorder.ts";
import type { Region } from "./region.ts";
import { describe, isScalar, makeRef, makeVal, makeVar, operandValue } from "./scalar.ts";
import { type Exit, internals, type Memory, type Place } from "./value.ts";
import type { AnyView, View, ViewInternals } from "./view-types.ts";

/** Makes a view of memory through a layout: an object with a property for each member. */
export function makeView<L extends Layout, M extends Memory>(
  recorder: Recorder,
  region: Region,
  offset: number,
  layout: L,
): View<L, M> {
  const kind = kindOf(layout);
  // A scalar by itself has no property whose access could be the moment of reading: it reads wherever it is used.
  if (kind !== undefined) {
    return makeVar(recorder, kind, placeOf(region, offset, layout)) as unknown as View<L, M>;
  }
  return composite(recorder, region, offset, layout) as unknown as View<L, M>;
}

/** The scalar kind that a layout has in a program, or `undefined` for structs, arrays and the like. */
export function kindOf(layout: Layout): ScalarKind | undefined {
  if (isScalarKind(layout.kind)) return layout.kind;
  if (layout.kind === "bool") return "u8";
  if (layout.kind === "pointer") return "u64";
  if (layout.kind !== "enum") return undefined;
  return `${(layout as Layout & { signed: boolean }).signed ? "s" : "u"}${(layout.size * 8) as 8 | 16 | 32 | 64}`;
}

/** Whether something is a view of memory. */
export function isView(thing: unknown): thing is AnyView {
  if (typeof thing !== "object" || thing === null) return false;
  const inside = (thing as { [internals]?: object })[internals];
  return inside !== undefined && "layout" in inside;
}

/**
 * The address of a view or of a field in memory, how many bytes lie there, and the region that they are in.
 *
 * @throws LangError where it has none.
 */
export function addressOf(thing: unknown): { region: Region; offset: number; size: number } {
  if (isView(thing)) {
    const { region, offset, layout } = thing[internals];
    return { region, offset, size: layout.size };
  }
  if (isScalar(thing)) {
    const { place } = thing[internals];
    if (place?.kind === "memory" && place.bits === undefined) return place;
  }
  throw new LangError(
    `${describe(thing)} has no address`,
    here(),
    "Put the value into memory first: $.struct(layout, value).",
  );
}

/** A pointer to a place in a region, as a value. */
export function pointerTo(recorder: Recorder, region: Region, offset: number): IrValue {
  if (region.slot !== undefined && region.base.kind === "frame") {
    return frame(region.slot, region.base.offset + offset);
  }
  return addToPointer(recorder, region.base, constant(offset));
}

/** A new object in the stack frame, holding `init` and zeros elsewhere: padding too. */
export function makeStackView<L extends Layout>(
  recorder: Recorder,
  layout: L,
  init: unknown,
  options: { readonly scratch: boolean; readonly name: string },
): View<L, "stack"> {
  const region = stackRegion(recorder, layout, options);
  fill(recorder, region, layout, init);
  return makeView<L, "stack">(recorder, region, 0, layout);
}

/** Room for an object in the stack frame, with nothing in it: whoever asks for it has it written. */
export function stackRegion(
  recorder: Recorder,
  layout: Layout,
  options: { readonly scratch: boolean; readonly name: string },
): Region {
  // As aligned as the widest access that `chunkSize` makes of it: the verifier takes no other.
  const align = Math.max(
    layout.align,
    layout.size >= 8 ? 8 : layout.size >= 4 ? 4 : layout.size >= 2 ? 2 : 1,
  );
  const slot = newSlot(recorder, options.name, layout.size, align, options.scratch);
  return {
    memory: "stack",
    base: frame(slot),
    size: layout.size,
    slot,
    name: `the ${options.name} in the stack`,
    writable: true,
    scope: recorder.scope,
    epoch: 0,
  };
}

/** Writes the members that `init` gives. */
export function assign(recorder: Recorder, view: AnyView, init: unknown): void {
  const { region, offset, layout } = view[internals];
  for (const write of writesOf(recorder, layout, init, offset, region)) perform(recorder, region, write);
}

/**
 * Copies bytes from one place to another.
 *
 * @returns what the helper gave that copied them; `undefined` where none was needed.
 */
export function copyBytes(
  recorder: Recorder,
  to: { readonly region: Region; readonly offset: number },
  from: { readonly region: Region; readonly offset: number; readonly layout?: Layout | undefined },
  size: number,
): IrValue | undefined {
  const largest = largestLoad(from.region, from.layout, size);
  if (largest === undefined) return copyByHelper(recorder, to, from, size);
  const chunks: { at: number; size: 1 | 2 | 4 | 8; value: IrValue }[] = [];
  for (let at = 0; at < size; ) {
    const chunk = Math.min(
      largest,
      chunkSize(to.region, to.offset + at, size - at),
      chunkSize(from.region, from.offset + at, size - at),
    ) as 1 | 2 | 4 | 8;
    chunks.push({ at, size: chunk, value: readMemory(recorder, from.region, from.offset + at, chunk) });
    at += chunk;
    // Two pieces at a time: more would be alive at once than there are registers.
    if (chunks.length === 2 || at === size) {
      for (const piece of chunks.splice(0)) {
        store(recorder, to.region, to.offset + piece.at, piece.size, piece.value);
      }
    }
  }
  return undefined;
}

/** The largest load that copies from a region; `undefined` where a helper must do it. */
function largestLoad(region: Region, layout: Layout | undefined, size: number): number | undefined {
  if (region.probe !== undefined) return undefined;
  if (region.memory !== "kernel") return 8;
  // The verifier knows the members there, and takes no load across two of them.
  if (layout === undefined) return [1, 2, 4, 8].includes(size) ? size : undefined;
  if (size > 32) return undefined;
  if (layout.kind === "bytes" || layout.kind === "text") return 8;
  const scalar = layout.kind === "array" ? (layout as ArrayLayout).element : layout;
  return kindOf(scalar) === undefined ? undefined : scalar.size;
}

function copyByHelper(
  recorder: Recorder,
  to: { readonly region: Region; readonly offset: number },
  from: { readonly region: Region; readonly offset: number },
  size: number,
): IrValue {
  checkRegion(recorder, from.region);
  const address = pointerTo(recorder, from.region, from.offset);
  const space = from.region.probe ?? "kernel";
  if (to.region.memory === "packet" || to.region.memory === "ctx") {
    // Helpers do not write there: by way of the stack.
    const slot = newSlot(recorder, "what was read", size, 8, false);
    const call = copyFrom(recorder, {
      to: frame(slot),
      memory: "stack",
      from: address,
      size,
      space,
      text: false,
    });
    const region: Region = {
      memory: "stack",
      base: frame(slot),
      size,
      slot,
      name: "what was read",
      writable: true,
      scope: recorder.scope,
      epoch: 0,
    };
    copyBytes(recorder, to, { region, offset: 0 }, size);
    return call;
  }
  checkWritable(recorder, to.region);
  const target = pointerTo(recorder, to.region, to.offset);
  return copyFrom(recorder, {
    to: target,
    memory: memoryOf(to.region),
    from: address,
    size,
    space,
    text: false,
  });
}

/** The largest access that is aligned at an offset of a region. Packets may be accessed at any offset. */
export function chunkSize(region: Region, offset: number, left: number): 1 | 2 | 4 | 8 {
  const fits = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
  if (region.memory === "packet") return fits;
  const aligned = offset % 8 === 0 ? 8 : offset % 4 === 0 ? 4 : offset % 2 === 0 ? 2 : 1;
  return Math.min(fits, aligned) as 1 | 2 | 4 | 8;
}

function composite(recorder: Recorder, region: Region, offset: number, layout: Layout): AnyView {
  const inside: ViewInternals = { region, offset, layout };
  const view = { [internals]: inside } as AnyView;
  if ("fields" in layout) return withFields(recorder, view, inside);
  if (layout.kind === "array") return Object.assign(view, arrayMethods(recorder, inside));
  if (layout.kind === "bytes" || layout.kind === "text") {
    return Object.assign(view, arrayMethods(recorder, { ...inside, layout: array(u8, layout.size) }));
  }
  return view;
}

function withFields(recorder: Recorder, view: AnyView, { region, offset, layout }: ViewInternals): AnyView {
  for (const field of fieldsOf(layout)) {
    if (field.layout.kind === "reserved" && !("opaque" in field.layout)) continue;
    Object.defineProperty(view, field.name, {
      enumerable: true,
      get: () => {
        const special = indirect(recorder, region, offset + field.offset, field.layout, field.name);
        if (special !== undefined) return special;
        const kind = kindOf(field.layout);
        if (kind === undefined) return composite(recorder, region, offset + field.offset, field.layout);
        return makeRef(recorder, kind, fieldPlace(region, offset, field));
      },
    });
  }
  return view;
}

/**
 * What a field leads to, where it leads elsewhere: a pointer to a struct in memory whose pointers are known, or the place of a
 * text in a tracepoint's record.
 */
function indirect(
  recorder: Recorder,
  region: Region,
  offset: number,
  layout: Layout,
  name: string,
): AnyView | undefined {
  const { pointers } = region;
  if (layout.kind === "data_loc") return located(recorder, region, offset, layout as DataLocLayout, name);
  if (layout.kind !== "pointer" || pointers === undefined) return undefined;
  const { to } = layout as PointerLayout;
  if (to === undefined || !("fields" in to)) return undefined;
  const typed = pointers === "typed";
  const pointed: Region = {
    memory: pointers === "user" ? "user" : "kernel",
    base: readMemory(recorder, region, offset, 8, typed ? "memory" : undefined),
    size: to.size,
    slot: undefined,
    name: `what '${name}' points to`,
    writable: false,
    readOnly: FOREIGN,
    scope: recorder.scope,
    epoch: 0,
    reference: region.reference,
    probe: typed ? undefined : pointers,
    pointers,
  };
  return makeView(recorder, pointed, 0, to) as unknown as AnyView;
}

/** What to say to somebody who writes the kernel's memory, or a process's. */
export const FOREIGN =
  "Programs read it; what the kernel lets them change has a helper or a kernel function of its own.";

/** The bytes that a field of a tracepoint's record says where they are: 16 bits are the offset, 16 the length. */
function located(
  recorder: Recorder,
  region: Region,
  offset: number,
  layout: DataLocLayout,
  name: string,
): AnyView {
  const place = readMemory(recorder, region, offset, 4);
  const start = binary(recorder, "and", 32, place, constant(0xffff));
  const base = emit(recorder, {
    kind: "binary",
    op: "add",
    width: 64,
    a: region.base,
    b: start,
    pointer: "memory",
    source: here(),
  });
  const at: Region = {
    memory: "kernel",
    base: layout.from === "record" ? base : addToPointer(recorder, base, constant(offset + layout.size)),
    size: 0xffff,
    slot: undefined,
    name: `the text '${name}'`,
    writable: false,
    readOnly: FOREIGN,
    scope: recorder.scope,
    epoch: 0,
    probe: "kernel",
  };
  const length = makeVal(recorder, "u16", binary(recorder, "rsh", 32, place, constant(16)));
  return Object.assign(composite(recorder, at, 0, layout), { length });
}

function arrayMethods(recorder: Recorder, { region, offset, layout }: ViewInternals): object {
  const { element, length } = layout as ArrayLayout;
  const elementAt = (at: Region, start: number): unknown => {
    const special = indirect(recorder, at, start, element, "an element");
    if (special !== undefined) return special;
    const kind = kindOf(element);
    if (kind === undefined) return composite(recorder, at, start, element);
    return makeRef(recorder, kind, placeOf(at, start, element));
  };
  const computedRegion = (index: IrValue): Region => {
    const scaled = element.size === 1 ? index : binary(recorder, "mul", 64, index, constant(element.size));
    const base = addToPointer(recorder, region.base, scaled);
    const computed: Region = { ...region, base, size: element.size, scope: recorder.scope };
    // The verifier loads through a typed pointer at offsets that it knows, and at no others.
    return region.memory === "kernel" && region.pointers === "typed"
      ? { ...computed, probe: "kernel", pointers: "kernel" }
      : computed;
  };
  return {
    length,
    at(index: unknown, options?: { readonly else: () => Exit }): unknown {
      if (typeof index === "number") {
        checkIndex(index, length);
        return elementAt(region, offset + index * element.size);
      }
      const value = operandValue(recorder, "u64", index);
      if (options === undefined) {
        throw new LangError(
          "an index that the program computed needs { else: … }",
          here(),
          "Say what happens where it is outside: { else: () => $.return(…) }. Or take .wrap(index).",
        );
      }
      guard(recorder, { kind: "compare", op: "ge", width: 64, a: value, b: constant(length) }, options.else);
      const computed = computedRegion(value);
      if (region.end !== undefined) {
        // What the verifier knew of the packet's bounds it does not know of an address that an unknown number was added to.
        checkRegion(recorder, region);
        const behind = addToPointer(recorder, computed.base, constant(offset + element.size));
        guard(recorder, { kind: "compare", op: "gt", width: 64, a: behind, b: region.end() }, options.else);
      }
      return elementAt(computed, offset);
    },
    wrap(index: unknown): unknown {
      if (region.memory === "packet") {
        throw new LangError(
          "an index into the packet cannot wrap: the bounds check that follows can fail",
          here(),
          "Use .at with { else }.",
        );
      }
      if (!Number.isInteger(Math.log2(length))) {
        throw new LangError(
          `an array of ${length} cannot wrap: the length is no power of two`,
          here(),
          "Use .at with { else }.",
        );
      }
      const value = binary(recorder, "and", 64, operandValue(recorder, "u64", index), constant(length - 1));
      return elementAt(computedRegion(value), offset);
    },
  };
}

/** Leaves the path where a condition holds: `otherwise` must end it. */
export function guard(
  recorder: Recorder,
  condition: Parameters<typeof branch>[1],
  otherwise: () => unknown,
): void {
  if (typeof otherwise !== "function") {
    throw new LangError(
      "the `else` of something that can fail is missing",
      here(),
      "Say what happens then, last: { else: () => $.return(…) }.",
    );
  }
  const [leave, stay] = [newBlock(recorder, "else"), newBlock(recorder, "ok")];
  const from = currentBlock(recorder);
  const before = pathState(recorder);
  branch(recorder, condition, leave, stay);
  recorder.block = leave;
  inScope(recorder, from, otherwise);
  if (recorder.block !== undefined) {
    throw new LangError(
      "the `else` of something that can fail goes on",
      here(),
      "End the path in it: else: () => $.return(…), $.break() or $.continue().",
    );
  }
  recorder.block = stay;
  restore(recorder, before);
}

function checkIndex(index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  throw new LangError(`there is no element ${index}`, here(), `There are ${length}: 0 to ${length - 1}.`);
}

/** A field as what `place.ts` reads and writes. */
export function fieldPlace(region: Region, structOffset: number, field: Field): Place {
  const bits = "shift" in field ? (field as BitsInPlace) : undefined;
  if (bits !== undefined && ![1, 2, 4, 8].includes(field.size)) {
    throw new LangError(
      `the bit field '${field.name}' lies across two words`,
      here(),
      "Declare it in bytes.",
    );
  }
  return {
    kind: "memory",
    region,
    offset: structOffset + field.offset,
    size: field.size as 1 | 2 | 4 | 8,
    bits: bits === undefined ? undefined : { shift: bits.shift, width: bits.width },
  };
}

function placeOf(region: Region, offset: number, layout: Layout): Place {
  return { kind: "memory", region, offset, size: layout.size as 1 | 2 | 4 | 8, bits: undefined };
}

function fieldsOf(layout: Layout): readonly Field[] {
  return Object.values((layout as Layout & { fields: Record<string, Field> }).fields);
}

// --- filling ---------------------------------------------------------------------------------------------------------

/** One thing to write: a scalar, or a copy of bytes. Offsets count from the start of the region. */
type Write =
  | {
      readonly kind: "scalar";
      readonly place: Place & { kind: "memory" };
      readonly value: IrValue;
      readonly of: ScalarKind;
    }
  | { readonly kind: "copy"; readonly offset: number; readonly size: number; readonly from: AnyView }
  | { readonly kind: "bytes"; readonly offset: number; readonly bytes: Uint8Array };

/** Fills a new object: what `init` gives, zeros elsewhere. A value that zeros follow is stored together with them. */
function fill(recorder: Recorder, region: Region, layout: Layout, init: unknown): void {
  const writes = init === undefined ? [] : writesOf(recorder, layout, init, 0, region);
  const covered = new Uint8Array(layout.size);
  for (const write of writes) {
    const [at, size] = extent(write);
    if (write.kind !== "scalar" || write.place.bits === undefined) covered.fill(1, at, at + size);
  }
  const wider = new Map<Write, 1 | 2 | 4 | 8>();
  for (const write of writes) {
    if (write.kind !== "scalar" || write.place.bits !== undefined || KINDS[write.of].signed || !LITTLE_ENDIAN)
      continue;
    let [at, size] = extent(write);
    while (size < 8 && at % (size * 2) === 0 && at + size * 2 <= layout.size) {
      if (covered.subarray(at + size, at + size * 2).includes(1)) break;
      size *= 2;
    }
    covered.fill(1, at, at + size);
    wider.set(write, size as 1 | 2 | 4 | 8);
  }
  for (let at = 0; at < layout.size; ) {
    if (covered[at] === 1) {
      at++;
      continue;
    }
    let size = chunkSize(region, at, layout.size - at) as number;
    while (covered.subarray(at, at + size).includes(1)) size /= 2;
    store(recorder, region, at, size as 1 | 2 | 4 | 8, constant(0));
    at += size;
  }
  for (const write of writes) {
    const size = wider.get(write);
    if (write.kind === "scalar" && size !== undefined)
      store(recorder, region, write.place.offset, size, write.value);
    else perform(recorder, region, write);
  }
}

function extent(write: Write): [offset: number, size: number] {
  if (write.kind === "scalar") return [write.place.offset, write.place.size];
  return [write.offset, write.kind === "copy" ? write.size : write.bytes.length];
}

function perform(recorder: Recorder, region: Region, write: Write): void {
  switch (write.kind) {
    case "scalar":
      writePlace(recorder, write.place, write.value);
      return;
    case "copy": {
      const { region: from, offset, layout } = write.from[internals];
      copyBytes(recorder, { region, offset: write.offset }, { region: from, offset, layout }, write.size);
      return;
    }
    case "bytes":
      storeBytes(recorder, region, write.offset, write.bytes);
      return;
  }
}

/** Stores constant bytes. */
export function storeBytes(
  recorder: Recorder,
  region: Region,
  offset: number,
  bytes: Uint8Array,
  largest = 8,
): void {
  for (let at = 0; at < bytes.length; ) {
    const size = chunkSize(region, offset + at, Math.min(largest, bytes.length - at));
    store(recorder, region, offset + at, size, constant(numberOf(bytes.subarray(at, at + size))));
    at += size;
  }
}

/** Bytes as the number that the machine loads from them. */
export function numberOf(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of LITTLE_ENDIAN ? bytes.toReversed() : bytes) value = (value << 8n) | BigInt(byte);
  return value;
}

function writesOf(
  recorder: Recorder,
  layout: Layout,
  init: unknown,
  offset: number,
  region: Region,
): Write[] {
  const kind = kindOf(layout);
  if (kind !== undefined) {
    const place = placeOf(region, offset, layout) as Place & { kind: "memory" };
    return [{ kind: "scalar", place, value: operandValue(recorder, kind, init), of: kind }];
  }
  if (isView(init)) {
    const { size } = init[internals].layout;
    if (size !== layout.size) {
      throw new LangError(`${size} bytes are copied to where ${layout.cName} has ${layout.size}`, here());
    }
    return [{ kind: "copy", offset, size, from: init }];
  }
  if (layout.kind === "array" && Array.isArray(init)) {
    const { element, length } = layout as ArrayLayout;
    if (init.length > length) {
      throw new LangError(
        `${init.length} elements are given for an array of ${length}`,
        here(),
        "Those that are left out are zero; more do not fit.",
      );
    }
    return init.flatMap((value, index) =>
      writesOf(recorder, element, value, offset + index * element.size, region),
    );
  }
  if (layout.kind === "bytes" || layout.kind === "text") {
    const bytes = typeof init === "string" ? new TextEncoder().encode(init) : init;
    if (!(bytes instanceof Uint8Array))
      throw new LangError(`${describe(init)} stands where bytes are wanted`, here());
    if (bytes.length !== layout.size && typeof init !== "string") {
      throw new LangError(`${bytes.length} bytes are given where ${layout.size} are wanted`, here());
    }
    const padded = new Uint8Array(layout.size);
    padded.set(bytes.subarray(0, layout.size));
    return [{ kind: "bytes", offset, bytes: padded }];
  }
  if ("fields" in layout && typeof init === "object" && init !== null && !(internals in init)) {
    return structWrites(recorder, layout, init as Record<string, unknown>, offset, region);
  }
  throw new LangError(`${describe(init)} stands where ${layout.cName} is wanted`, here(), shapeOf(layout));
}

/** How a value of a layout is written. */
function shapeOf(layout: Layout): string {
  if ("fields" in layout) {
    const members = fieldsOf(layout).filter((field) => field.layout.kind !== "reserved");
    return `Give its members: { ${members.map(({ name }) => `${name}: …`).join(", ")} }.`;
  }
  return layout.kind === "array" ? "Give its elements: [ … ]." : "Give a view of one.";
}

function structWrites(
  recorder: Recorder,
  layout: Layout,
  init: Record<string, unknown>,
  offset: number,
  region: Region,
): Write[] {
  const fields = fieldsOf(layout);
  return Object.entries(init).flatMap(([name, value]): Write[] => {
    if (value === undefined) return [];
    const field = fields.find((candidate) => candidate.name === name && candidate.layout.kind !== "reserved");
    if (field === undefined) {
      const names = fields.map((candidate) => candidate.name);
      throw new LangError(
        `${layout.cName} has no member '${name}'`,
        here(),
        suggest(name, names) ?? `It has ${names.join(", ")}.`,
      );
    }
    const kind = kindOf(field.layout);
    if (kind === undefined) return writesOf(recorder, field.layout, value, offset + field.offset, region);
    const place = fieldPlace(region, offset, field) as Place & { kind: "memory" };
    return [{ kind: "scalar", place, value: operandValue(recorder, kind, value), of: kind }];
  });
}
