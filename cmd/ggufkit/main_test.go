package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ggufkit": main})
}

// TestScripts runs the command line as a user does. Scripts find the small
// models and texts under $DATA.
func TestScripts(t *testing.T) {
	data, err := filepath.Abs("../../testdata")
	require.NoError(t, err)
	moe := reference.MoE(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("DATA", data)
			env.Setenv("MOE", moe)
			env.Setenv("EVALDATA", filepath.Join(data, "..", "infer", "eval", "testdata", "data"))
			env.Setenv("IMATRIX", filepath.Join(data, "..", "quant", "imatrix", "testdata", "moe.imatrix"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"json":       jsonIs,
			"beyonder":   sparseBeyonder,
			"tensor-mib": tensorMiB,
			"append":     appendBytes,
			"cut":        cut,
			"exit-code":  exitCode,
			"kill-early": killEarly,
			"sha256":     sha256Is,
			"unstack":    unstack,
			"hub":        hub,
			"store":      store,
			"pack-gptq":  packGPTQ,
			"tear":       tear,

			"same-figures": sameFigures,
			"same-set":     sameSet,
		},
	})
}

// jsonIs compares a value in the JSON on standard output of the last command:
// json PATH VALUE, where PATH is keys and indexes separated by spaces.
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	var document any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &document))
	for _, step := range args[:len(args)-1] {
		switch d := document.(type) {
		case map[string]any:
			document = d[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(d) {
				ts.Fatalf("%s is beyond the %d items", step, len(d))
			}
			document = d[i]
		}
	}
	got, err := json.Marshal(document)
	ts.Check(err)
	if (string(got) == args[len(args)-1]) == neg {
		ts.Fatalf("%v is %s", args[:len(args)-1], got)
	}
}

// sha256Is checks the hash of a whole file: sha256 FILE HASH.
func sha256Is(ts *testscript.TestScript, neg bool, args []string) {
	got := fmt.Sprintf("%x", sha256.Sum256([]byte(ts.ReadFile(args[0]))))
	if (got == args[1]) == neg {
		ts.Fatalf("%s has SHA-256 %s", args[0], got)
	}
}

// unstack writes a mixture as a file of early 2024: unstack IN OUT [MIXED].
func unstack(ts *testscript.TestScript, _ bool, args []string) {
	in, err := gguf.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer in.Close()
	var mixed gguf.Source
	if len(args) > 2 {
		file, err := gguf.Open(ts.MkAbs(args[2]))
		ts.Check(err)
		defer file.Close()
		mixed = file
	}
	_, err = gguf.Write(context.Background(), ts.MkAbs(args[1]), reference.Unstack(in, mixed), gguf.WriteOptions{})
	ts.Check(err)
}

// packGPTQ packs the matrices of a checkpoint, but for those whose names SKIP matches; those
// that SCATTERED matches so that groups are not neighbours: pack-gptq IN OUT [SKIP [SCATTERED]].
func packGPTQ(ts *testscript.TestScript, _ bool, args []string) {
	var patterns [2]*regexp.Regexp
	for i, arg := range args[2:] {
		patterns[i] = regexp.MustCompile(arg)
	}
	ts.Check(os.Mkdir(ts.MkAbs(args[1]), 0o777))
	ts.Check(reference.PackGPTQ(args[0], ts.MkAbs(args[1]), patterns[0], patterns[1]))
}

// cut shortens a file: cut FILE BYTES.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// tear cuts the last byte off the one file of a pattern: tear PATTERN.
func tear(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("there are %d of %s", len(names), args[0])
	}
	info, err := os.Stat(names[0])
	ts.Check(err)
	ts.Check(os.Truncate(names[0], info.Size()-1))
}

// sameFigures compares JSON byte for byte, but for how long things took, what was read, and the command: same-figures A B.
func sameFigures(ts *testscript.TestScript, neg bool, args []string) {
	other := regexp.MustCompile(`"(seconds|tokens_per_second|read_bytes|readings|command)": .*`)
	a, b := other.ReplaceAllString(ts.ReadFile(args[0]), ""), other.ReplaceAllString(ts.ReadFile(args[1]), "")
	if (a == b) == neg {
		ts.Fatalf("%s\n%s", a, b)
	}
}

// sameSet compares the files of two split sets, which are several: same-set PREFIX PREFIX.
func sameSet(ts *testscript.TestScript, _ bool, args []string) {
	var sets [2][]string
	for i := range sets {
		var err error
		sets[i], err = filepath.Glob(ts.MkAbs(args[i]) + "-*-of-*.gguf")
		ts.Check(err)
	}
	if len(sets[0]) < 2 || len(sets[0]) != len(sets[1]) {
		ts.Fatalf("%v\n%v", sets[0], sets[1])
	}
	for i, path := range sets[0] {
		other := sets[1][i]
		if strings.TrimPrefix(path, ts.MkAbs(args[0])) != strings.TrimPrefix(other, ts.MkAbs(args[1])) || ts.ReadFile(path) != ts.ReadFile(other) {
			ts.Fatalf("%s and %s are not the same", path, other)
		}
	}
}

// appendBytes makes a file longer: append FILE BYTES.
func appendBytes(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append([]byte(ts.ReadFile(args[0])), make([]byte, n)...), 0o666))
}

// exitCode runs ggufkit and checks what it exits with: exit-code CODE ARGUMENTS.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	var code *exec.ExitError
	err := ts.Exec("ggufkit", args[1:]...)
	if err != nil && !errors.As(err, &code) {
		ts.Check(err)
	}
	got := 0
	if code != nil {
		got = code.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// killEarly starts ggufkit and kills it, giving it no chance to clean up, soon
// after a file appears: kill-early FILE ARGUMENTS.
func killEarly(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("ggufkit", args[1:]...) // which testscript has put in PATH
	cmd.Dir = ts.MkAbs(".")
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			time.Sleep(20 * time.Millisecond)
			_ = cmd.Process.Kill()
			<-ended
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
