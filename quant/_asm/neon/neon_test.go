package neon

import (
	"os"
	"strings"
	"testing"
)

// TestEncodings compares with testdata/instructions, which
//
//	aarch64-linux-gnu-as -march=armv8.6-a -o /tmp/o instructions.s && aarch64-linux-gnu-objdump -d /tmp/o
//
// (GNU binutils 2.40) made of the texts: each line has an instruction and its
// bits. Every method that writes a word is called with operands at the ends of
// their ranges.
func TestEncodings(t *testing.T) {
	table, err := os.ReadFile("testdata/instructions")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(table)) {
		text, bits, _ := strings.Cut(strings.TrimSpace(line), "\t")
		want[text] = bits
	}
	seen := map[string]bool{}
	for line := range strings.Lines(allInstructions()) {
		word, text, found := strings.Cut(strings.TrimSpace(line), " // ")
		if !found {
			t.Fatalf("%q is not a WORD", line)
		}
		if bits, ok := want[text]; !ok || word != "WORD $0x"+bits {
			t.Errorf("%s is written as %s, GNU as gives %q", text, word, bits)
		}
		seen[text] = true
	}
	for text := range want {
		if !seen[text] {
			t.Errorf("%s is not written", text)
		}
	}
}

// allInstructions returns the assembly that all methods write.
func allInstructions() string {
	var file File
	f := &Function{text: &file.text}
	for _, v := range [][3]Vector{{0, 1, 2}, {31, 0, 0}, {0, 31, 0}, {0, 0, 31}, {21, 10, 21}, {10, 21, 10}} {
		d, n, m := v[0], v[1], v[2]
		for _, op := range []func(d, n, m Vector){
			f.FADD, f.FSUB, f.FMUL, f.FDIV, f.FMAX, f.FMIN, f.FCMEQ, f.FCMGT,
			f.AND, f.BIC, f.EOR, f.ORR, f.BSL, f.BIT, f.BIF, f.TBL,
			f.FADDP, f.FMLA, f.FMLS, f.SDOT, f.USMMLA,
		} {
			op(d, n, m)
		}
		for _, op := range []func(d, n Vector){f.FABS, f.FNEG, f.FSQRT, f.FRINTN, f.FCVTNS, f.FCVTAS, f.FCVTZS, f.FMAXV, f.FMINV, f.FCVTL, f.FCVTL2, f.FCVTN,
			f.FCVTN2, f.FCVTMS, f.SQXTN, f.SQXTN2} {
			op(d, n)
		}
		f.TBL2(d, [2]Vector{n % 31, n%31 + 1}, m)
		for i := range 4 {
			for _, op := range []func(d, n, m Vector, i int){f.FMULElement, f.FMLAElement, f.FMLSElement, f.MLAElement, f.SDOTElement} {
				op(d, n, m, i)
			}
			f.DUP(d, n, i)
		}
		f.SCVTF(d, n, 0)
		for _, fraction := range []int{1, 24, 28, 32} {
			f.SCVTF(d, n, fraction)
			f.UCVTF(d, n, fraction)
		}
		for _, a := range []Arrangement{B16, H8, S4, D2} {
			for _, op := range []func(a Arrangement, d, n, m Vector){f.ADD, f.SQADD, f.CMGE, f.UZP1, f.UZP2, f.ZIP1, f.ZIP2} {
				op(a, d, n, m)
			}
			if a != D2 {
				f.SMAX(a, d, n, m)
				f.SMIN(a, d, n, m)
				f.UMIN(a, d, n, m)
				for _, op := range []func(a Arrangement, d, n, m Vector){f.SMULL, f.SMULL2, f.SMLAL, f.SMLAL2} {
					op(a, d, n, m)
				}
				for _, op := range []func(a Arrangement, d, n Vector){f.SXTL, f.SXTL2, f.SADALP} {
					op(a, d, n)
				}
			}
			for _, distance := range []int{0, 1, a.bits() / 2, a.bits() - 1} {
				f.SHL(a, d, n, distance)
				f.SLI(a, d, n, distance)
				f.USHR(a, d, n, distance+1)
				f.SSHR(a, d, n, distance+1)
				f.SRI(a, d, n, distance+1)
			}
		}
	}
	return file.text.String()
}

func TestOperandsOutOfRange(t *testing.T) {
	var file File
	f := &Function{text: &file.text}
	for name, op := range map[string]func(){
		"shift to the left by all bits": func() { f.SHL(B16, 0, 0, 8) },
		"shift to the right by none":    func() { f.USHR(B16, 0, 0, 0) },
		"shift to the right too far":    func() { f.SRI(H8, 0, 0, 17) },
		"fraction of 33 bits":           func() { f.UCVTF(0, 0, 33) },
		"fraction of no bits":           func() { f.UCVTF(0, 0, 0) },
		"greater of 64 bits":            func() { f.SMAX(D2, 0, 0, 0) },
		"products of 128 bits":          func() { f.SMULL(D2, 0, 0, 0) },
		"integers of 128 bits":          func() { f.SXTL(D2, 0, 0) },
		"table in distant vectors":      func() { f.TBL2(0, [2]Vector{1, 3}, 0) },
		"element 4":                     func() { f.DUP(0, 0, 4) },
		"element -1":                    func() { f.FMULElement(0, 0, 0, -1) },
		"33 vectors":                    func() { f.Vectors(33) },
		"unknown parameter":             func() { f.Parameter("x") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is not refused", name)
				}
			}()
			op()
		}()
	}
}
