package kernel

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// Algorithm is an ESP algorithm: ENCR, with INTEG unless it is an AEAD.
type Algorithm struct {
	Encr  suite.Transform `json:"encr"`
	Integ suite.Transform `json:"integ"`
}

// Finding is what the probe found out about one thing.
type Finding struct {
	Name    string `json:"name"`
	Problem string `json:"problem,omitempty"` // empty: it works
}

// AlgorithmFinding is what the probe found out about one ESP algorithm. It
// works when the kernel opened known packets and sealed packets that open, with
// 32-bit and with extended sequence numbers.
type AlgorithmFinding struct {
	Algorithm
	Finding
}

// Result is what this kernel can do. It may be written to a file and read back by a
// daemon without the privileges to probe.
type Result struct {
	Kernel      string             `json:"kernel"`            // release
	Problem     string             `json:"problem,omitempty"` // why nothing works at all
	SADirection bool               `json:"sa_direction"`      // XFRMA_SA_DIR, Linux 6.10
	Features    []Finding          `json:"features"`          // gre, gretap, ip6gre, ip6gretap, esp6, guard
	Algorithms  []AlgorithmFinding `json:"algorithms"`
	Took        time.Duration      `json:"took"` // nanoseconds
}

// Usable returns nil when the datapath can work: IPv4 GRE, the guard and at
// least one ESP algorithm. Anything else that is missing only limits it.
func (r *Result) Usable() error {
	if r.Problem != "" {
		return errors.New(r.Problem)
	}
	for _, f := range r.Features {
		if (f.Name == "gre" || f.Name == "guard") && f.Problem != "" {
			return fmt.Errorf("%s: %s", f.Name, f.Problem)
		}
	}
	problem := "the kernel was not probed"
	for _, a := range r.Algorithms {
		if a.Problem == "" {
			return nil
		}
		problem = "no ESP algorithm works: " + a.Name + ": " + a.Problem
	}
	return errors.New(problem)
}

func (r *Result) find(a Algorithm) (AlgorithmFinding, bool) {
	i := slices.IndexFunc(r.Algorithms, func(f AlgorithmFinding) bool {
		return f.Encr == a.Encr && f.Integ.ID == a.Integ.ID
	})
	if i < 0 {
		return AlgorithmFinding{}, false
	}
	return r.Algorithms[i], true
}

// Supports returns nil when the kernel computes this ESP algorithm correctly.
func (r *Result) Supports(encr, integ suite.Transform) error {
	f, known := r.find(Algorithm{encr, integ})
	switch {
	case !known && r.Problem != "":
		return fmt.Errorf("ESP algorithm %s: %s", xfrm.AlgorithmName(encr, integ), r.Problem)
	case !known:
		return fmt.Errorf("ESP algorithm %s was not probed", xfrm.AlgorithmName(encr, integ))
	case f.Problem != "":
		return fmt.Errorf("ESP algorithm %s: %s", f.Name, f.Problem)
	}
	return nil
}

// add takes over what a later probe of one algorithm found. That it could not run (the
// privileges are dropped by then) says nothing about the others.
func (r *Result) add(a Algorithm, o *Result) {
	f, known := o.find(a)
	if !known {
		f = AlgorithmFinding{a, Finding{xfrm.AlgorithmName(a.Encr, a.Integ), "it was not probed at the start, and cannot be now: " + o.Problem}}
	}
	r.Algorithms = append(r.Algorithms, f)
}

// Notes are the findings that are problems.
func (r *Result) Notes() []string {
	var notes []string
	for _, f := range r.Features {
		if f.Problem != "" {
			notes = append(notes, f.Name+": "+f.Problem)
		}
	}
	for _, f := range r.Algorithms {
		if f.Problem != "" {
			notes = append(notes, "ESP algorithm "+f.Name+": "+f.Problem)
		}
	}
	return notes
}

// DefaultAlgorithms are all that a config can name, those of the default
// proposals first: a config loaded later may name others than the first one,
// and by then the daemon has dropped the capabilities for a probe.
func DefaultAlgorithms() []Algorithm {
	all := suite.DefaultESP(true)
	if rest, err := suite.ParseESP("aes256-aes128-sha256-sha384-sha512"); err == nil {
		all = append(all, rest)
	}
	return AlgorithmsOf(all)
}

// AlgorithmsOf lists the ESP algorithms of proposals, each once.
func AlgorithmsOf(proposals []suite.Proposal) []Algorithm {
	var all []Algorithm
	add := func(a Algorithm) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, p := range proposals {
		for _, e := range p.Of(suite.TypeEncr) {
			if e.IsAEAD() {
				add(Algorithm{Encr: e})
				continue
			}
			for _, i := range p.Of(suite.TypeInteg) {
				add(Algorithm{e, i})
			}
		}
	}
	return all
}

// Probe asks the kernel what it can do, in a network namespace of its own that
// ends with it: it has no effect outside except that modules are loaded. It
// needs CAP_SYS_ADMIN. nil means DefaultAlgorithms.
func Probe(algorithms []Algorithm) *Result {
	if algorithms == nil {
		algorithms = DefaultAlgorithms()
	}
	return probe(algorithms, esp.KnownAnswerFor)
}

type knownAnswers func(encr, integ suite.Transform, esn bool) (esp.KnownAnswer, bool)

func probe(algorithms []Algorithm, answers knownAnswers) *Result {
	start := time.Now()
	done := make(chan *Result)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it the
		// namespace.
		runtime.LockOSThread()
		done <- inNamespace(algorithms, answers)
	}()
	r := <-done
	r.Took = time.Since(start)
	return r
}

func inNamespace(algorithms []Algorithm, answers knownAnswers) *Result {
	r := &Result{Kernel: release()}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		switch err {
		case unix.EPERM:
			r.Problem = "the probe needs CAP_SYS_ADMIN for a network namespace of its own: run greseal probe as root"
		case unix.EINVAL, unix.ENOSYS:
			r.Problem = "the kernel has no network namespaces, so its ESP cannot be tested (CONFIG_NET_NS)"
		default:
			r.Problem = fmt.Sprintf("make a network namespace: %v", err)
		}
		return r
	}
	d, err := open(nil)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	defer func() { _ = d.Close() }()
	r.Features = d.probeLinks()
	b, err := newBench(d)
	if err != nil {
		r.Problem = fmt.Sprintf("set up the probe: %v", err)
		return r
	}
	defer b.close()
	guard := Finding{Name: "guard"}
	if err := b.tryGuard(); err != nil {
		guard.Problem = err.Error()
	}
	r.Features = append(r.Features, guard)
	for _, a := range algorithms {
		f := AlgorithmFinding{Algorithm: a, Finding: Finding{Name: xfrm.AlgorithmName(a.Encr, a.Integ)}}
		if err := b.verify(a, answers, &r.SADirection); err != nil {
			f.Problem = err.Error()
		}
		r.Algorithms = append(r.Algorithms, f)
	}
	esp6 := Finding{Name: "esp6", Problem: "no ESP algorithm works"}
	for _, a := range r.Algorithms {
		if a.Problem == "" {
			esp6.Problem = ""
			if err := b.trySix(a.Algorithm, answers); err != nil {
				esp6.Problem = err.Error()
			}
			break
		}
	}
	r.Features = append(r.Features, esp6)
	return r
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// probeLinks makes one interface of each kind.
func (d *Datapath) probeLinks() []Finding {
	var found []Finding
	for i, l := range []platform.Link{
		{Remote: netip.MustParseAddr("192.0.2.1")},
		{Remote: netip.MustParseAddr("192.0.2.2"), Ethernet: true},
		{Remote: netip.MustParseAddr("100::1")},
		{Remote: netip.MustParseAddr("100::2"), Ethernet: true},
	} {
		l.Name = fmt.Sprintf("probe%d", i)
		kind := kindOf(l, l.Remote)
		f := Finding{Name: kind}
		if err := d.route.Do(greLink(l, kind, l.Remote, 0)); err != nil {
			f.Problem = explainLink(err, kind).Error()
		}
		found = append(found, f)
	}
	return found
}

// The addresses of the probe (RFC 2544's and 5737's), all on lo.
var (
	probeOuterA = netip.MustParseAddr("192.0.2.1")
	probeOuterB = netip.MustParseAddr("192.0.2.2")
	probeInner  = netip.MustParseAddr("198.18.0.2") // destination of the known payload
	probeGuard  = netip.MustParseAddr("198.51.100.1")
	probeNet    = netip.MustParsePrefix("198.18.0.0/24")
)

const (
	probeReqid = reqidBase | 0xffff
	patience   = time.Second // for a packet through lo
)

// bench is the set-up in which packets run. Over lo, with policies enabled on it, a
// known ESP packet from A to B comes in and its payload must reach a raw socket; and the
// same payload, sent out, must leave as ESP from B to A that package esp opens again.
type bench struct {
	d     *Datapath
	clear int // raw socket of UDP: receives the opened payload, sends it as well
	esp   int // raw socket of ESP: sends known packets, sees sealed ones
}

func newBench(d *Datapath) (*bench, error) {
	b := &bench{d: d, clear: -1, esp: -1}
	lo, err := rtnl.LinkByName(d.route, "lo")
	if err != nil {
		return nil, err
	}
	const inetConf, noXFRM, noPolicy, rpFilter = 1, 15, 16, 8 // IFLA_INET_CONF, IPV4_DEVCONF_*
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(inetConf, nil)
	for _, key := range []int{noXFRM, noPolicy, rpFilter} {
		conf.AddRtAttr(key, nl.Uint32Attr(0))
	}
	if err := rtnl.ChangeLink(d.route, lo.Index, unix.IFF_UP, unix.IFF_UP, spec); err != nil {
		return nil, fmt.Errorf("let lo obey policies: %w", err)
	}
	for _, a := range []netip.Addr{probeOuterA, probeOuterB, probeInner, probeGuard} {
		m := nl.NewIfAddrmsg(unix.AF_INET)
		m.Prefixlen, m.Index = 32, uint32(lo.Index)
		req := netlink.Request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m,
			nl.NewRtAttr(unix.IFA_LOCAL, a.AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, a.AsSlice()))
		if err := d.route.Do(req); err != nil {
			return nil, fmt.Errorf("address on lo: %w", err)
		}
	}
	// A route back to the payload's source, or an inherited reverse path filter
	// drops it.
	m := &nl.RtMsg{}
	m.Family, m.Dst_len, m.Table = unix.AF_INET, uint8(probeNet.Bits()), unix.RT_TABLE_MAIN
	m.Scope, m.Type, m.Protocol = unix.RT_SCOPE_LINK, unix.RTN_UNICAST, unix.RTPROT_STATIC
	if err := d.route.Do(netlink.Request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE, m,
		nl.NewRtAttr(unix.RTA_DST, probeNet.Addr().AsSlice()),
		nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(lo.Index))))); err != nil {
		return nil, fmt.Errorf("route on lo: %w", err)
	}
	for _, p := range []xfrm.Policy{
		{Dir: xfrm.DirIn, Src: inet.Of(probeInner).All(), Dst: inet.Host(probeInner), TmplSrc: netip.IPv4Unspecified(), TmplDst: probeOuterB},
		{Dir: xfrm.DirOut, Src: inet.Of(probeInner).All(), Dst: inet.Host(probeInner), TmplSrc: probeOuterB, TmplDst: probeOuterA},
	} {
		p.Proto, p.Priority, p.Reqid, p.Mode = unix.IPPROTO_UDP, allowPriority, probeReqid, xfrm.ModeTunnel
		if p.Dir == xfrm.DirOut {
			p.Proto = 0 // packets with a header of the sender's are looked up as protocol 255
		}
		if err := xfrm.WritePolicy(d.xfrm, nl.XFRM_MSG_NEWPOLICY, p); err != nil {
			return nil, fmt.Errorf("policy: %w", explain(err))
		}
	}
	for _, s := range []struct {
		fd    *int
		proto int
	}{{&b.clear, unix.IPPROTO_UDP}, {&b.esp, unix.IPPROTO_ESP}} {
		if *s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, s.proto); err != nil {
			b.close()
			return nil, fmt.Errorf("raw socket: %w", err)
		}
	}
	if err := errors.Join(
		unix.SetsockoptInt(b.clear, unix.IPPROTO_IP, unix.IP_HDRINCL, 1),
		unix.Bind(b.esp, &unix.SockaddrInet4{Addr: probeOuterA.As4()}),
	); err != nil {
		b.close()
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	return b, nil
}

func (b *bench) close() {
	for _, fd := range []int{b.clear, b.esp} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// tryGuard sets a guard and sees a packet of protocol 47 refused.
func (b *bench) tryGuard() error {
	if err := b.d.Guard("probe", []netip.Addr{probeGuard}); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, xfrm.ProtoGRE)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Sendto(fd, make([]byte, 4), 0, &unix.SockaddrInet4{Addr: probeGuard.As4()})
	if err == nil {
		return errors.New("the kernel sent protocol 47 in the clear in spite of a policy that blocks it")
	}
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("send protocol 47: %w", err)
	}
	return nil
}

// verify runs the known answers of one algorithm.
func (b *bench) verify(a Algorithm, answers knownAnswers, dirs *bool) error {
	for _, esn := range []bool{false, true} {
		k, ok := answers(a.Encr, a.Integ, esn)
		if !ok {
			return errors.New("there is no known answer to test it with")
		}
		if err := b.run(k, dirs); err != nil {
			if esn {
				return fmt.Errorf("with extended sequence numbers: %w", err)
			}
			return err
		}
	}
	return nil
}

func (b *bench) run(k esp.KnownAnswer, dirs *bool) error {
	in := xfrm.State{ID: xfrm.ID{Dst: probeOuterB, SPI: k.Params.SPI}, Src: probeOuterA, Reqid: probeReqid, Mode: xfrm.ModeTunnel, ESN: k.Params.ESN, Window: 64, Dirs: *dirs}
	out := in
	out.Dst, out.Src, out.Out = probeOuterA, probeOuterB, true
	for _, s := range []xfrm.State{in, out} {
		if err := xfrm.AddState(b.d.xfrm, s, &k.Params); err != nil {
			return explainState(err, k.Params.Encr, k.Params.Integ, k.Params.ESN)
		}
		defer func() { _ = xfrm.DeleteState(b.d.xfrm, s.ID) }()
	}
	if !*dirs {
		*dirs = b.knowsDirections(&k.Params)
	}
	drain(b.clear)
	drain(b.esp)
	// In: the known packet must yield the known payload.
	if err := unix.Sendto(b.esp, k.Wire, 0, &unix.SockaddrInet4{Addr: probeOuterB.As4()}); err != nil {
		return fmt.Errorf("send a known packet: %w", err)
	}
	if !await(b.clear, func(p []byte) bool { return slices.Equal(p, k.Payload) }) {
		return errors.New("the kernel decrypts a known packet wrongly")
	}
	// Out: the payload must leave as a packet that opens to it.
	opener, err := esp.NewOpener(k.Params)
	if err != nil {
		return err
	}
	drain(b.esp)
	if err := unix.Sendto(b.clear, k.Payload, 0, &unix.SockaddrInet4{Addr: probeInner.As4()}); err != nil {
		return fmt.Errorf("send a payload to be sealed: %w", err)
	}
	if !await(b.esp, func(p []byte) bool {
		head := 20 // the outer header, without options
		if len(p) < head || p[0] != 0x45 || slices.Equal(p[head:], k.Wire) {
			return false
		}
		opened, err := opener.Open(p[head:], new(esp.Window))
		return err == nil && opened.Next == k.Next && slices.Equal(opened.Payload, k.Payload)
	}) {
		return errors.New("the kernel encrypts packets wrongly")
	}
	return nil
}

// knowsDirections adds an SA with a direction and reads it back.
func (b *bench) knowsDirections(p *esp.Params) bool {
	s := xfrm.State{ID: xfrm.ID{Dst: probeOuterA, SPI: math.MaxUint32}, Src: probeOuterB, Reqid: probeReqid, Mode: xfrm.ModeTunnel, Out: true, Dirs: true}
	if xfrm.AddState(b.d.xfrm, s, p) != nil {
		return false
	}
	defer func() { _ = xfrm.DeleteState(b.d.xfrm, s.ID) }()
	info, err := xfrm.ReadState(b.d.xfrm, s.ID)
	return err == nil && info.Dir == xfrm.SADirOut
}

// trySix adds an SA between IPv6 addresses: the algorithms are the same, the
// module is another.
func (b *bench) trySix(a Algorithm, answers knownAnswers) error {
	k, _ := answers(a.Encr, a.Integ, false)
	s := xfrm.State{ID: xfrm.ID{Dst: netip.MustParseAddr("100::1"), SPI: k.Params.SPI}, Src: netip.MustParseAddr("100::2"), Reqid: probeReqid, Mode: xfrm.ModeTunnel, Window: 64}
	err := xfrm.AddState(b.d.xfrm, s, &k.Params)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("%s: %w", needESP6, err)
	}
	if err == nil {
		err = xfrm.DeleteState(b.d.xfrm, s.ID)
	}
	return err
}

func drain(fd int) {
	var b [1]byte
	for {
		if _, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC); err != nil && err != unix.EINTR {
			return
		}
	}
}

// await reads packets until one is as wanted, or patience ends.
func await(fd int, wanted func(packet []byte) bool) bool {
	b := make([]byte, 2048)
	until := time.Now().Add(patience)
	for {
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(left/time.Millisecond)+1); n == 0 && err == nil {
			return false
		}
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		if err == nil && wanted(b[:n]) {
			return true
		}
	}
}
