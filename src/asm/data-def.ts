import { type Members, type StructLayout, u32 } from "../btf/layout/index.ts";
import { BPF_F_MMAPABLE, BPF_F_RDONLY_PROG } from "../uapi/bpf.ts";
import { AssembleError } from "./errors.ts";
import { checkObjectName, type DataSection, type MapDef, type TypedMapDef } from "./map-def.ts";

/** The definition of global data: an array map with one entry, whose members are variables. */
export type DataDef<M extends Members = Members, Section extends DataSection = DataSection> = TypedMapDef<
  "array",
  typeof u32,
  StructLayout<string, M>,
  undefined
> & { readonly section: Section };

/**
 * Describes global data: the members of a struct are variables that programs and user space share (kernel 5.5). A program
 * takes the address of one with `mapValue(data, layout.offset.name)`, in the language all of them with `$.global(data)`; user
 * space reads and writes them without a system call, as `GlobalData` of `tsbpf/kernel`.
 *
 * What is in `.rodata` is given when it is created, and constant from then on: the verifier knows the values, and leaves the
 * branches out that are not taken with them.
 *
 * @param prefix - begins the map's name, `prefix.rodata`.
 * @throws AssembleError when the name gets longer than 15 characters, or a member is a bit field, which no variable is.
 * @example
 * ```ts
 * const settings = struct("settings", { limit: u32, ports: array(u16, 4) });
 * const config = dataDef("app", ".rodata", settings);
 *
 * const load = [lddw(r1, mapValue(config, settings.offset.limit)), ldxw(r2, [r1, 0])];
 * ```
 */
export function dataDef<M extends Members, const Section extends DataSection>(
  prefix: string,
  section: Section,
  value: StructLayout<string, M>,
): DataDef<M, Section> {
  const name = `${prefix}${section}`;
  checkObjectName("map", name);
  const bitField = value.placement.placed.find(({ member }) => member.kind === "bits");
  if (bitField !== undefined) {
    throw new AssembleError(
      `map '${name}': '${bitField.name}' is a bit field, and a variable has an address`,
      {},
      "Give it an integer of its own, or put the bit fields into a nested struct.",
    );
  }
  const flags = BPF_F_MMAPABLE | (section === ".rodata" ? BPF_F_RDONLY_PROG : 0);
  const def: MapDef = {
    kind: "map",
    type: "array",
    name,
    key: u32,
    value,
    maxEntries: 1,
    flags,
    inner: undefined,
    extra: undefined,
    section,
  };
  return Object.freeze(def) as DataDef<M, Section>;
}
