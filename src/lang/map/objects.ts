import type { MapDef } from "../../asm/map-def.ts";
import type { Field } from "../../btf/layout/field.ts";
import { bpf_kptr_xchg, bpf_map_lookup_elem } from "../../uapi/helpers.ts";
import { LangError } from "../error.ts";
import type { IrValue } from "../ir/ir.ts";
import { checkPointer, isPointer } from "../pointer.ts";
import { checkWritable, constant, emit, here, type OpenRecord, type Recorder } from "../recorder.ts";
import { checkOwnReference, closeReference, openReference, SOCKET } from "../references.ts";
import { describe } from "../scalar.ts";
import { internals, type Nullable, type Pointer } from "../value.ts";
import { isView, pointerTo } from "../view.ts";
import type { AnyView } from "../view-types.ts";
import { type KeyOf, recordObjectLookup } from "./maps.ts";

/** Statements for objects of the kernel that maps hold. */
export interface MapObjects {
  /**
   * The socket of a socket map or hash: in the body of `$.ifPresent`, where it must be released (`$.bpf_sk_release`). Kernel 5.9.
   */
  findSocket<D extends MapDef<"sockmap"> | MapDef<"sockhash">>(map: D, key: KeyOf<D>): Nullable<"bpf_sock">;
  /**
   * Puts an object, or null, into a `kptr` member of a map's value, and takes out what was there, in one step. What is put in
   * must have been acquired, and belongs to the map then; what comes out, if anything, must be given back or put in again.
   * Kernel 5.19.
   *
   * @param value - the value, or a struct in it, whose layout has the member.
   * @param member - declared as `kptr(tag)`.
   */
  exchange<Tag extends string>(
    value: AnyView<"map_value">,
    member: string,
    tag: Tag,
    object: Pointer<Tag> | null,
  ): Nullable<Tag>;
}

/** Makes the statements for objects that maps hold. */
export function createMapObjects(recorder: Recorder): MapObjects {
  return {
    findSocket: (map, key) => findSocket(recorder, map, key),
    exchange: (value, member, tag, object) => recordExchange(recorder, value, member, tag, object),
  };
}

function findSocket(recorder: Recorder, map: MapDef, key: unknown): Nullable<"bpf_sock"> {
  if (map?.type !== "sockmap" && map?.type !== "sockhash") {
    throw new LangError(
      `$.findSocket looks into socket maps, and this is ${map?.kind === "map" ? `map '${map.name}' of type ${map.type}` : describe(map)}`,
      here(),
      "Values of other maps are looked up with $.lookup.",
    );
  }
  const value = recordObjectLookup(recorder, bpf_map_lookup_elem, map, key);
  return acquire(recorder, "bpf_sock", value, { name: `the socket of '${map.name}'`, ...SOCKET });
}

function recordExchange<Tag extends string>(
  recorder: Recorder,
  value: AnyView,
  member: string,
  tag: Tag,
  object: Pointer<Tag> | null,
): Nullable<Tag> {
  if (!isView(value) || value[internals].region.memory !== "map_value") {
    throw new LangError(
      `$.exchange works on the value of a map, and this is ${describe(value)}`,
      here(),
      "Only maps hold objects of the kernel: look the value up first.",
    );
  }
  const { region, offset, layout } = value[internals];
  const fields = (layout as { readonly fields?: Readonly<Record<string, Field>> }).fields ?? {};
  const field = Object.hasOwn(fields, member) ? fields[member] : undefined;
  if (field?.layout.cName !== `struct ${tag} *`) {
    throw new LangError(
      `${layout.cName} has no member '${member}' that holds a ${tag}`,
      here(),
      `Declare it: ${member}: kptr("${tag}").`,
    );
  }
  checkWritable(recorder, region, offset);
  const given = objectValue(recorder, tag, object);
  const node = emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: bpf_kptr_xchg },
    args: [pointerTo(recorder, region, offset + field.offset), given],
    reads: ["map_value"],
    writes: ["map_value"],
    removable: false,
    pure: false,
    pointer: "memory",
    source: here(),
  });
  return acquire(recorder, tag, node, {
    name: `the ${tag} that was in '${member}'`,
    done: "given back or stored",
    undone: "neither given back nor stored again",
    remedy: "the kernel function that releases it, or $.exchange",
  });
}

function objectValue(recorder: Recorder, tag: string, object: unknown): IrValue {
  if (object === null) return constant(0);
  if (!isPointer(object) || object.tag === undefined) {
    throw new LangError(
      `$.exchange puts in a pointer to ${tag} or null, and this is ${isPointer(object) ? "a pointer that may be null" : describe(object)}`,
      here(),
      "Use the pointer that the body of $.ifPresent is given.",
    );
  }
  if (object.tag !== tag) {
    throw new LangError(`a pointer to ${object.tag} is put where a ${tag} belongs`, here());
  }
  checkPointer(recorder, object[internals]);
  const { value, reference } = object[internals];
  if (reference === undefined) {
    throw new LangError(
      `a ${tag} that was not acquired cannot be put into a map`,
      here(),
      "Acquire it first, with the kernel function that does.",
    );
  }
  checkOwnReference(recorder, reference, "stored");
  closeReference(recorder, reference);
  return value;
}

function acquire<Tag extends string>(
  recorder: Recorder,
  tag: Tag,
  value: IrValue,
  what: Pick<OpenRecord, "name" | "done" | "undone" | "remedy">,
): Nullable<Tag> {
  const reference: OpenRecord = { ...what, region: undefined, source: here() };
  openReference(recorder, reference);
  return { nullable: tag, [internals]: { value, reference, scope: recorder.scope } };
}
