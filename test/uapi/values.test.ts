import { describe, expect, it } from "vitest";
import * as bpf from "../../src/uapi/bpf.ts";
import {
  bpf_attr_link_create,
  bpf_attr_link_create_tcx,
  bpf_attr_prog_load,
} from "../../src/uapi/bpf-attr.ts";
import { errnos } from "../../src/uapi/errno.ts";
import { BPF_FS_MAGIC, NSFS_MAGIC, TRACEFS_MAGIC } from "../../src/uapi/fs-magic.ts";
import type { Helper } from "../../src/uapi/helper.ts";
import {
  baseHelperIds,
  bpf_redirect_map,
  bpf_trace_printk,
  type HelperProgType,
  type HelpersByProgType,
  helperProgTypes,
  helpers,
} from "../../src/uapi/helpers.ts";
import * as net from "../../src/uapi/net.ts";
import * as netlink from "../../src/uapi/netlink.ts";
import { PERF_CONTEXT_KERNEL } from "../../src/uapi/perf-event.ts";
import * as structs from "../../src/uapi/structs.ts";
import { syscallNumbers } from "../../src/uapi/syscall-numbers.ts";

describe("constants that the rest of the project stands on", () => {
  it.each([
    ["BPF_LD | BPF_IMM | BPF_DW", bpf.BPF_LD | bpf.BPF_IMM | bpf.BPF_DW, 0x18],
    ["BPF_STORE_REL", bpf.BPF_STORE_REL, 0x110],
    ["BPF_MAP_TYPE_CPUMAP", bpf.bpf_map_type.BPF_MAP_TYPE_CPUMAP, 16],
    ["BPF_XDP_CPUMAP", bpf.BPF_XDP_CPUMAP, 35],
    ["BPF_TCX_INGRESS", bpf.BPF_TCX_INGRESS, 46],
    ["XDP_PASS", bpf.xdp_action.XDP_PASS, 2],
    ["TC_ACT_UNSPEC", bpf.TC_ACT_UNSPEC, -1],
    ["BPF_F_CTXLEN_MASK", bpf.BPF_F_CTXLEN_MASK, 0xfffff * 2 ** 32],
    ["PERF_CONTEXT_KERNEL", PERF_CONTEXT_KERNEL, 2n ** 64n - 128n],
    ["IFLA_XDP", netlink.IFLA_XDP, 43],
    ["IFLA_XDP_EXPECTED_FD", netlink.IFLA_XDP_EXPECTED_FD, 8],
    ["RTM_NEWTFILTER", netlink.RTM_NEWTFILTER, 44],
    ["TC_H_CLSACT", netlink.TC_H_CLSACT, 0xfffffff1],
    ["NETDEV_FAMILY_NAME", netlink.NETDEV_FAMILY_NAME, "netdev"],
    ["SIOCETHTOOL", net.SIOCETHTOOL, 0x8946],
    ["ETHTOOL_STXCSUM", net.ETHTOOL_STXCSUM, 0x17],
    ["ETH_P_IP", net.ETH_P_IP, 0x0800],
    ["SOL_NETLINK", net.SOL_NETLINK, 270],
    ["BPF_FS_MAGIC", BPF_FS_MAGIC, 0xcafe4a11],
    ["TRACEFS_MAGIC", TRACEFS_MAGIC, 0x74726163],
    ["NSFS_MAGIC", NSFS_MAGIC, 0x6e736673],
    ["bpf(2) on x64", syscallNumbers.x64.bpf, 321],
    ["bpf(2) on arm64", syscallNumbers.arm64.bpf, 280],
    ["bpf(2) on riscv64", syscallNumbers.riscv64.bpf, 280],
  ])("%s", (_, actual, expected) => {
    expect(actual).toBe(expected);
  });

  it("leaves counting enumerators out of the enums' objects", () => {
    expect(Object.keys(bpf.bpf_map_type).filter((name) => name.startsWith("__"))).toEqual([]);
    expect(bpf.__MAX_BPF_MAP_TYPE).toBe(Object.keys(bpf.bpf_map_type).length - deprecatedMapTypes);
  });
});

/** Names in `bpf_map_type` that are a second spelling of another one's number. */
const deprecatedMapTypes =
  Object.keys(bpf.bpf_map_type).length - new Set(Object.values(bpf.bpf_map_type)).size;

describe("struct offsets", () => {
  it.each([
    ["xdp_md.data_end", structs.xdp_md.data_end, 4],
    ["__sk_buff.data", structs.__sk_buff.data, 76],
    ["ethhdr.size", structs.ethhdr.size, 14],
    ["iphdr.protocol", structs.iphdr.protocol, 9],
    ["iphdr.size", structs.iphdr.size, 20],
    ["ipv6hdr.size", structs.ipv6hdr.size, 40],
    ["tcphdr.size", structs.tcphdr.size, 20],
    ["bpf_cpumap_val.size", structs.bpf_cpumap_val.size, 8],
    ["nlmsghdr.size", structs.nlmsghdr.size, 16],
    ["bpf_link_info.xdp.ifindex", structs.bpf_link_info_xdp.ifindex, 16],
    ["btf_type.size (a field)", structs.btf_type.size_, 8],
    ["bpf_attr: expected_attach_type", bpf_attr_prog_load.expected_attach_type, 68],
    ["bpf_attr: link_create.flags", bpf_attr_link_create.flags, 12],
    ["bpf_attr: link_create.tcx.expected_revision", bpf_attr_link_create_tcx.expected_revision, 24],
    ["bpf_attr: end of link_create.tcx", bpf_attr_link_create_tcx.size, 32],
  ])("%s", (_, actual, expected) => {
    expect(actual).toBe(expected);
  });

  it("knows fields with their types and bits", () => {
    expect(structs.structLayouts.iphdr.fields.saddr).toEqual({ offset: 12, size: 4, type: "__be32" });
    expect(structs.structLayouts.iphdr.fields.version).toMatchObject({ bitOffset: 4, bitSize: 4 });
    expect(structs.structLayouts.ethhdr.fields.h_dest).toEqual({
      offset: 0,
      size: 6,
      type: "unsigned char[6]",
    });
    expect(structs.structLayouts.__sk_buff.fields.sk.type).toBe("struct bpf_sock *");
  });

  it("keeps every field inside its struct, and flat offsets equal to the layouts'", () => {
    const flat = structs as unknown as Record<string, Record<string, number>>;
    for (const [name, { size, fields }] of Object.entries(structs.structLayouts)) {
      expect(flat[name], name).toMatchObject({ size });
      for (const [field, layout] of Object.entries(fields)) {
        expect(flat[name]?.[field === "size" ? "size_" : field], `${name}.${field}`).toBe(layout.offset);
        const end = "bitSize" in layout ? layout.offset + 1 : layout.offset + layout.size;
        expect(end, `${name}.${field}`).toBeLessThanOrEqual(size);
      }
    }
  });
});

describe("errnos", () => {
  it.each([
    [1, "EPERM", "Operation not permitted"],
    [11, "EAGAIN", "Resource temporarily unavailable"],
    [34, "ERANGE", "Numerical result out of range"],
    [95, "EOPNOTSUPP", "Operation not supported"],
    [524, "ENOTSUPP", "Operation is not supported by the kernel"],
  ])("%d is %s", (number, name, text) => {
    expect(errnos.get(number)).toEqual({ name, text });
  });

  it("has a text for each", () => {
    for (const { name, text } of errnos.values()) expect(text, name).not.toMatch(/^Unknown error|^$/);
  });
});

describe("helpers", () => {
  it("stand at their id, with a prototype of their name", () => {
    expect(helpers[0]).toBeUndefined();
    expect(helpers.length).toBe(bpf.__BPF_FUNC_MAX_ID);
    for (const [id, helper] of helpers.entries()) {
      if (helper === undefined) continue;
      expect(helper.id).toBe(id);
      expect(helper.signature).toContain(`${helper.name}(`);
    }
    expect(bpf_redirect_map.signature).toBe("long bpf_redirect_map(struct bpf_map *map, u64 key, u64 flags)");
  });

  it("know their licence", () => {
    expect(bpf_trace_printk.gplOnly).toBe(true);
    expect(bpf_redirect_map.gplOnly).toBe(false);
  });

  it("are listed for the program types that may call them", () => {
    expect(mayCall("xdp", "bpf_redirect_map")).toBe(true);
    expect(mayCall("xdp", "bpf_skb_load_bytes")).toBe(false);
    expect(mayCall("sched_cls", "bpf_skb_load_bytes")).toBe(true);
    expect(mayCall("sched_cls", "bpf_redirect_map")).toBe(false);
    expect(mayCall("kprobe", "bpf_override_return")).toBe(true);
    expect(mayCall("xdp", "bpf_override_return")).toBe(false);
    expect(mayCall("struct_ops", "bpf_tcp_send_ack")).toBe(true);
  });

  it("are typed likewise", () => {
    const inXdp: Helper<HelpersByProgType["xdp"]> = bpf_redirect_map;
    // @ts-expect-error: TC programs cannot call bpf_redirect_map
    const inTc: Helper<HelpersByProgType["sched_cls"]> = bpf_redirect_map;
    const anywhere: Helper<HelpersByProgType[HelperProgType]> = bpf_trace_printk;
    expect([inXdp, inTc, anywhere].map((helper) => helper.id)).toEqual([51, 51, 6]);
  });
});

function mayCall(progType: HelperProgType, name: string): boolean {
  const extra = helperProgTypes[progType];
  const id = helpers.find((helper) => helper?.name === name)?.id;
  return id !== undefined && (extra === "all" || extra.includes(id) || baseHelperIds.includes(id));
}
