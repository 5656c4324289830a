import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { openLink } from "../../../src/kernel/link/open.ts";
import { attachStructOps } from "../../../src/kernel/link/struct-ops.ts";
import { check } from "../../../src/syscall/errno.ts";
import { BPF_F_LINK, bpf_cmd } from "../../../src/uapi/bpf.ts";
import { bpf_attr_map_create } from "../../../src/uapi/bpf-attr.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";
import { bpftoolLink, type Counter, counter, pinDirectory } from "./support.ts";

const IPPROTO_TCP = 6;
const TCP_CONGESTION = 13;

describeKernel("struct_ops links", () => {
  const sys = tracedSyscalls();
  const pin = pinDirectory();
  const name = `tsb_t${process.pid}`.slice(0, 15);
  const available = (): readonly string[] =>
    readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8").trim().split(" ");
  const operation = (member: string, returns = 10): Counter =>
    counter(sys, "struct_ops", member, { attachTo: `tcp_congestion_ops.${member}`, returns });

  /** Sends a megabyte to ourselves under the congestion control. */
  const transfer = async (): Promise<void> => {
    const listener = createServer((socket) => socket.resume().on("end", () => socket.end()));
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const client = connect((listener.address() as { port: number }).port, "127.0.0.1");
    await once(client, "connect");
    const fd = (client as unknown as { _handle: { fd: number } })._handle.fd;
    check(
      sys.setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, new TextEncoder().encode(`${name}\0`)),
      "setsockopt",
    );
    await finish(client);
    listener.close();
  };
  const finish = async (client: Socket): Promise<void> => {
    client.resume().end(new Uint8Array(1 << 20));
    await once(client, "close");
  };

  test("a congestion control made of programs", async () => {
    using ssthresh = operation("ssthresh");
    using undo_cwnd = operation("undo_cwnd");
    using cong_avoid = operation("cong_avoid");
    const operations = { ssthresh: ssthresh.prog, undo_cwnd: undo_cwnd.prog, name };
    const link = attachStructOps(
      "tcp_congestion_ops",
      { ...operations, cong_avoid: cong_avoid.prog },
      { sys },
    );
    expect(available()).toContain(name);
    await transfer();
    expect(cong_avoid.count()).toBeGreaterThan(0);
    expect(link.info()).toMatchObject({ kind: "struct_ops", id: link.id, progId: undefined });
    expect(bpftoolLink(link.id)).toMatchObject({ type: "struct_ops" });
    expect(() => link.update(cong_avoid.prog)).toThrow(
      /^cannot update tcp_congestion_ops link: it has several programs/,
    );

    using better = operation("cong_avoid");
    link.replace({ ...operations, cong_avoid: better.prog });
    const before = cong_avoid.count();
    await transfer();
    expect(cong_avoid.count()).toBe(before);
    expect(better.count()).toBeGreaterThan(0);

    link.pin(pin("cc"));
    link.close();
    expect(available()).toContain(name);
    using again = openLink(pin("cc"), { sys });
    again.detach();
    expect(available()).not.toContain(name);
  });

  test("without links, as before kernel 6.4", async () => {
    using ssthresh = operation("ssthresh");
    using undo_cwnd = operation("undo_cwnd");
    using cong_avoid = operation("cong_avoid");
    const isLinkMap = (cmd: number, attr: Uint8Array): boolean =>
      cmd === bpf_cmd.BPF_MAP_CREATE &&
      (new DataView(attr.buffer).getUint32(bpf_attr_map_create.map_flags, true) & BPF_F_LINK) !== 0;
    const old = {
      ...sys,
      bpf: (cmd: number, attr: Uint8Array) => (isLinkMap(cmd, attr) ? -22 : sys.bpf(cmd, attr)),
    };
    const programs = { ssthresh: ssthresh.prog, undo_cwnd: undo_cwnd.prog, cong_avoid: cong_avoid.prog };
    const link = attachStructOps("tcp_congestion_ops", { ...programs, name }, { sys: old });
    expect(link.id).toBeUndefined();
    await transfer();
    expect(cong_avoid.count()).toBeGreaterThan(0);
    expect(() => link.replace({})).toThrow("there is no bpf_link behind it");
    link.close();
    expect(available()).not.toContain(name);
  });

  test("what does not fit", () => {
    using ssthresh = operation("ssthresh");
    const attach = (operations: Parameters<typeof attachStructOps>[1], struct = "tcp_congestion_ops") =>
      attachStructOps(struct, operations, { sys });
    expect(() => attach({ name, ssthresh: ssthresh.prog })).toThrow(
      /^cannot attach tcp_congestion_ops: EINVAL\n.*\n {2}A function that every tcp_congestion_ops has is missing/,
    );
    expect(() => attach({ nmae: name })).toThrow(
      "struct tcp_congestion_ops has no member 'nmae'\n  Did you mean 'name'?",
    );
    expect(() => attach({ name: "a name that is much too long" })).toThrow(
      "tcp_congestion_ops.name does not take the text 'a name that is much too long'\n  It takes 15 bytes.",
    );
    expect(() => attach({ ssthresh: 3 })).toThrow(
      "tcp_congestion_ops.ssthresh does not take a number\n  It is a function.",
    );
    expect(() => attach({ flags: ssthresh.prog })).toThrow(
      "tcp_congestion_ops.flags does not take program 'ssthresh'",
    );
    expect(() => attach({}, "tcp_congestion_op")).toThrow(
      "programs cannot implement struct tcp_congestion_op on this kernel\n  Did you mean 'tcp_congestion_ops'?",
    );
    expect(() => operation("sthresh")).toThrow(
      "program 'sthresh': struct tcp_congestion_ops has no member 'sthresh'\n  Did you mean 'ssthresh'?",
    );
  });
});
