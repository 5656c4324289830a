import { BtfError } from "./error.ts";
import { KSYM_NAME_LEN } from "./kind.ts";
import type { BtfDatasec, BtfFunc, BtfStruct, BtfType, BtfTypeId, BtfUnion, BtfVoid } from "./type.ts";

/** The types there are so far, to a check that meets a reference. */
export interface KnownTypes {
  /** One more than the highest id. */
  readonly typeCount: number;
  /** The type of an id; undefined for one that is reserved and not defined yet. */
  typeAt(id: BtfTypeId): BtfType | BtfVoid | undefined;
}

/**
 * Refuses a type that no kernel would load, or that refers to ids that do not exist.
 *
 * The rules are those of `btf_*_check_meta` and `btf_check_type_tags` in `kernel/bpf/btf.c` as far as a type and those
 * next to it show; whether sizes fit (a member its struct, a variable its section) is left to the kernel's log.
 *
 * @throws BtfError naming the type and the rule.
 */
export function checkType(type: BtfType, known: KnownTypes): void {
  const fail = (why: string): never => {
    throw new BtfError(`${describe(type)}: ${why}`);
  };
  const id = (id: BtfTypeId, what = "type"): void => {
    if (!Number.isInteger(id) || id < 0 || id >= known.typeCount) fail(`${what} ${id} does not exist`);
  };
  const sizedId = (ref: BtfTypeId, what: string): void => {
    id(ref, what);
    if (ref === 0) fail(`${what} cannot be void`);
  };
  const identifier = (name: string, what = "name"): void => {
    if (!IDENTIFIER.test(name) || name.length >= KSYM_NAME_LEN) {
      fail(`${what} ${JSON.stringify(name)} is no identifier`);
    }
  };
  const optionalIdentifier = (name: string, what = "name"): void => {
    if (name !== "") identifier(name, what);
  };
  const noTag = (id: BtfTypeId): void => {
    if (known.typeAt(id)?.kind === "typeTag")
      fail("type tags stand before qualifiers and typedefs, right behind the pointer");
  };
  const size = (size: number, allowed: readonly number[]): void => {
    if (!allowed.includes(size)) fail(`size ${size} is none of ${allowed.join(", ")}`);
  };

  switch (type.kind) {
    case "int": {
      if (type.name === "") fail("an int needs a name");
      size(type.size, [1, 2, 4, 8, 16]);
      const { bits, bitOffset } = type;
      if (bits < 1 || bits > 128) fail(`${bits} bits: an int has 1 to 128`);
      if (bits + bitOffset > type.size * 8)
        fail(`${bits} bits from bit ${bitOffset} on do not fit ${type.size} bytes`);
      return;
    }
    case "ptr":
      id(type.type);
      return;
    case "volatile":
    case "const":
    case "restrict":
      id(type.type);
      noTag(type.type);
      return;
    case "typedef":
      identifier(type.name);
      id(type.type);
      noTag(type.type);
      return;
    case "array":
      sizedId(type.type, "element type");
      sizedId(type.indexType, "index type");
      return;
    case "struct":
    case "union":
      optionalIdentifier(type.name);
      for (const member of type.members) {
        optionalIdentifier(member.name, "member name");
        sizedId(member.type, `type of member '${member.name}'`);
      }
      checkMembers(type, fail);
      return;
    case "enum":
    case "enum64":
      optionalIdentifier(type.name);
      size(type.size, [1, 2, 4, 8]);
      for (const { name } of type.values) identifier(name, "value name");
      return;
    case "fwd":
      identifier(type.name);
      return;
    case "func":
      identifier(type.name);
      sizedId(type.type, "prototype");
      checkProto(type, known.typeAt(type.type), fail);
      return;
    case "funcProto":
      id(type.type, "return type");
      for (const param of type.params) {
        optionalIdentifier(param.name, "parameter name");
        sizedId(param.type, `type of parameter '${param.name}'`);
      }
      return;
    case "var":
      identifier(type.name);
      sizedId(type.type, "type");
      return;
    case "datasec":
      if (type.name === "") fail("a datasec needs a name");
      for (const entry of type.entries) sizedId(entry.type, "variable");
      checkEntries(type, fail);
      return;
    case "float":
      if (type.name === "") fail("a float needs a name");
      size(type.size, [2, 4, 8, 12, 16]);
      return;
    case "declTag":
      if (type.value === "") fail("a tag needs a value");
      if (!Number.isInteger(type.component) || type.component < -1) {
        fail(`component ${type.component} is neither an index nor -1`);
      }
      sizedId(type.type, "type");
      return;
    case "typeTag":
      if (type.value === "") fail("a tag needs a value");
      id(type.type);
      return;
  }
}

// Newer kernels let a dot pass in every name, older ones in variables and sections only.
const IDENTIFIER = /^[A-Za-z_.][A-Za-z0-9_.]*$/;

type Fail = (why: string) => never;

function describe(type: BtfType): string {
  const name = "name" in type ? type.name : "value" in type ? type.value : "";
  return `BTF ${type.kind}${name === "" ? "" : ` '${name}'`}`;
}

function checkProto(func: BtfFunc, proto: BtfType | BtfVoid | undefined, fail: Fail): void {
  if (proto?.kind === "funcProto") {
    const unnamed = proto.params.findIndex(({ name }) => name === "");
    if (unnamed >= 0) fail(`parameter ${unnamed} has no name`);
  } else if (proto !== undefined) {
    fail(`its type ${func.type} is a ${proto.kind}, not a prototype`);
  }
}

function checkMembers(type: BtfStruct | BtfUnion, fail: Fail): void {
  let previous = 0;
  for (const { name, bitOffset } of type.members) {
    if (type.kind === "union" && bitOffset !== 0) fail(`member '${name}' is at bit ${bitOffset}, not 0`);
    if (bitOffset < previous) fail(`member '${name}' at bit ${bitOffset} comes after one at bit ${previous}`);
    if (Math.ceil(bitOffset / 8) > type.size)
      fail(`member '${name}' at bit ${bitOffset} is beyond ${type.size} bytes`);
    previous = bitOffset;
  }
}

function checkEntries(type: BtfDatasec, fail: Fail): void {
  if (type.size === 0) fail("size 0");
  let end = 0;
  for (const { type: id, offset, size } of type.entries) {
    if (offset < end) fail(`variable ${id} at ${offset} overlaps the one before it, which ends at ${end}`);
    if (size === 0) fail(`variable ${id} has size 0`);
    end = offset + size;
    if (end > type.size) fail(`variable ${id} ends at ${end}, beyond ${type.size} bytes`);
  }
}
