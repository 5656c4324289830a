import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LITTLE_ENDIAN } from "../../src/base/host.ts";
import {
  attrBytes,
  attrNested,
  attrString,
  attrU32,
  concatBytes,
  NetlinkFormatError,
} from "../../src/syscall/netlink-message.ts";
import { decodeLink } from "../../src/syscall/rtnetlink.ts";
import { decodeFilter } from "../../src/syscall/tc-netlink.ts";

const u8 = (type: number, value: number): Uint8Array => attrBytes(type, Uint8Array.of(value));

function ifinfo(index: number, type: number, flags: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint16(2, type, LITTLE_ENDIAN);
  view.setInt32(4, index, LITTLE_ENDIAN);
  view.setUint32(8, flags, LITTLE_ENDIAN);
  return new Uint8Array(view.buffer);
}

describe("RTM_NEWLINK", () => {
  test("a veth with a native program", () => {
    const payload = concatBytes(
      ifinfo(5, 1, 0x1043),
      attrString(3, "eth0"),
      attrU32(4, 1500),
      attrU32(5, 6),
      attrU32(37, 2),
      attrBytes(1, Uint8Array.of(2, 0, 0, 0, 0, 1)),
      attrNested(18, attrString(1, "veth")),
      attrNested(52, attrString(53, "uplink"), attrString(53, "a-long-alternative-name")),
      attrNested(43, u8(2, 1), attrU32(4, 77), attrU32(5, 77)),
    );
    expect(decodeLink({ payload })).toEqual({
      index: 5,
      name: "eth0",
      altNames: ["uplink", "a-long-alternative-name"],
      type: 1,
      flags: 0x1043,
      mtu: 1500,
      address: Uint8Array.of(2, 0, 0, 0, 0, 1),
      kind: "veth",
      peerIndex: 6,
      peerNetnsId: 2,
      rxQueues: undefined,
      txQueues: undefined,
      xdp: {
        mode: "native",
        progId: 77,
        nativeProgId: 77,
        genericProgId: undefined,
        hardwareProgId: undefined,
      },
    });
  });

  test.each([
    [0, "none"],
    [1, "native"],
    [2, "generic"],
    [3, "hardware"],
    [4, "several"],
  ])("attached %i is %s", (attached, mode) => {
    const payload = concatBytes(ifinfo(1, 1, 0), attrNested(43, u8(2, attached)));
    expect(decodeLink({ payload }).xdp.mode).toBe(mode);
  });

  test("a message without its header is refused", () => {
    expect(() => decodeLink({ payload: new Uint8Array(15) })).toThrow("RTM_NEWLINK without its ifinfomsg");
  });
});

describe("RTM_NEWTFILTER", () => {
  test("a cls_bpf filter", () => {
    const header = new DataView(new ArrayBuffer(20));
    header.setInt32(4, 5, LITTLE_ENDIAN);
    header.setUint32(8, 1, LITTLE_ENDIAN);
    header.setUint32(12, 0xfffffff2, LITTLE_ENDIAN);
    // Protocol 0x0003 in wire order inside a host-order word.
    header.setUint32(16, (0xc000 << 16) | (LITTLE_ENDIAN ? 0x0300 : 0x0003), LITTLE_ENDIAN);
    const payload = concatBytes(
      new Uint8Array(header.buffer),
      attrString(1, "bpf"),
      attrNested(2, attrString(7, "tsbpf"), attrU32(8, 1), attrU32(11, 42), attrBytes(10, new Uint8Array(8))),
    );
    expect(decodeFilter({ payload }, "ingress")).toEqual({
      ifindex: 5,
      direction: "ingress",
      prio: 0xc000,
      handle: 1,
      protocol: 3,
      kind: "bpf",
      bpf: { name: "tsbpf", progId: 42, tag: new Uint8Array(8), directAction: true },
    });
  });

  test("another kind has no bpf part", () => {
    const payload = concatBytes(new Uint8Array(20), attrString(1, "flower"), attrNested(2, attrU32(7, 1)));
    expect(decodeFilter({ payload }, "egress")).toMatchObject({ kind: "flower", bpf: undefined });
  });
});

test.each([
  ["decodeLink", decodeLink],
  ["decodeFilter", (message: { payload: Uint8Array }) => decodeFilter(message, "ingress")],
] as const)("%s takes any bytes or refuses them", (_, decode) => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc.array(fc.nat(60), { maxLength: 120 }).map((values) => Uint8Array.from(values)),
    // Well-formed attributes of the wrong width.
    fc
      .array(fc.tuple(fc.nat(60), fc.uint8Array({ maxLength: 12 })), { maxLength: 6 })
      .map((attrs) =>
        concatBytes(new Uint8Array(20), ...attrs.map(([type, payload]) => attrBytes(type, payload))),
      ),
  );
  fc.assert(
    fc.property(bytes, (payload) => {
      try {
        decode({ payload });
      } catch (error) {
        expect(error).toBeInstanceOf(NetlinkFormatError);
      }
    }),
    { numRuns: 3000 },
  );
});
