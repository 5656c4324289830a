// The CPUMAP sample's XDP program, as one writes it for libbpf, and a producer of records for a ring buffer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} cpus SEC(".maps");

SEC("xdp")
int xdp_same_cpu(struct xdp_md *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();

	bpf_printk("[XDP       ] cpu=%d", cpu);
	return bpf_redirect_map(&cpus, cpu, XDP_PASS);
}

struct record {
	__u64 seq;
	__u32 cpu;
	__u32 magic;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring SEC(".maps");

__u64 sequence;

SEC("xdp")
int ring_producer(struct xdp_md *ctx)
{
	struct record record = {
		.seq = __sync_fetch_and_add(&sequence, 1),
		.cpu = bpf_get_smp_processor_id(),
		.magic = 0x5eed,
	};

	bpf_ringbuf_output(&ring, &record, sizeof(record), 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
