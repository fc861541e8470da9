package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/verify"
)

type verifyFlags struct{ against, manifest string }

func verifyCommand() *cli.Command {
	var f verifyFlags
	return &cli.Command{
		Name:      "verify",
		Usage:     "say what is wrong with a GGUF file",
		ArgsUsage: "FILE",
		Description: "Looks at where things are in the file, or in all files of a split set, at the numbers in every block, at\n" +
			"the vocabulary and the chat template, and lists all that is wrong. Exits with 0 if that is nothing, and with 3\n" +
			"if it is something.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "against", Usage: "quantize `MODEL` to the types of the file: its bytes are to be the same, or no further from MODEL than their types are", Destination: &f.against},
			&cli.StringFlag{Name: "manifest", Usage: "hold the file against the sums in `FILE`: SHA256SUMS, or what 'ggufkit hash --json' prints", Destination: &f.manifest},
		},
		Action: action(func(c *call) error { return verifyFile(c, f) }),
	}
}

func verifyFile(c *call, f verifyFlags) (err error) {
	args, err := c.arguments("FILE")
	if err != nil {
		return err
	}
	if err := notStdin(c, "a GGUF file", args[0]); err != nil {
		return err
	}
	opts := verify.Options{Progress: func(step string) (func(done, total int64), func()) {
		rate := display.ByteRate
		if step == verify.Comparing {
			rate = weightRate
		}
		p := newProgress(c, step, rate)
		return p.update, p.stop
	}}
	if f.manifest != "" {
		if opts.Sums, err = verify.ReadSums(f.manifest); err != nil {
			return err
		}
	}
	if f.against != "" {
		original, err := openAny(c, f.against, hf.Options{})
		if err != nil {
			return err
		}
		defer original.Close()
		opts.Against = original
	}
	found, err := verify.File(c.ctx, args[0], opts)
	if err != nil {
		return named(args[0], err)
	}
	if err := printResults(c, found, func(w io.Writer) { report.PrintVerification(w, found) }); err != nil {
		return err
	}
	if !found.Good {
		return errDifferent
	}
	return nil
}

// weightRate is the rate of what takes weights one by one.
func weightRate(perSecond float64) string {
	return fmt.Sprintf("%.0f million weights/s", perSecond/1e6)
}
