import type { BtfType, BtfTypeId, BtfVoid } from "./type.ts";

/** The ids that a type refers to, in the order of its record, `void` included. */
export function references(type: BtfType | BtfVoid): BtfTypeId[] {
  switch (type.kind) {
    case "ptr":
    case "volatile":
    case "const":
    case "restrict":
    case "typedef":
    case "func":
    case "var":
    case "declTag":
    case "typeTag":
      return [type.type];
    case "array":
      return [type.type, type.indexType];
    case "struct":
    case "union":
      return type.members.map((member) => member.type);
    case "funcProto":
      return [type.type, ...type.params.map((param) => param.type)];
    case "datasec":
      return type.entries.map((entry) => entry.type);
    default:
      return [];
  }
}

/** The same type with other ids in it. */
export function mapReferences(type: BtfType, map: (id: BtfTypeId) => BtfTypeId): BtfType {
  switch (type.kind) {
    case "ptr":
    case "volatile":
    case "const":
    case "restrict":
    case "typedef":
    case "func":
    case "var":
    case "declTag":
    case "typeTag":
      return { ...type, type: map(type.type) };
    case "array":
      return { ...type, type: map(type.type), indexType: map(type.indexType) };
    case "struct":
    case "union":
      return { ...type, members: type.members.map((member) => ({ ...member, type: map(member.type) })) };
    case "funcProto": {
      const params = type.params.map((param) => ({ ...param, type: map(param.type) }));
      return { ...type, type: map(type.type), params };
    }
    case "datasec":
      return { ...type, entries: type.entries.map((entry) => ({ ...entry, type: map(entry.type) })) };
    default:
      return type;
  }
}
