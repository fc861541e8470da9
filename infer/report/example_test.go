package report_test

import (
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
)

// A report says in words what figures mean: is a mixture better than a model that it was made of?
func ExampleDoctor() {
	result := func(nll ...float64) perplexity.Result { // of each window of a text
		mean := 0.0
		for _, v := range nll {
			mean += v / float64(len(nll))
		}
		return perplexity.Result{Ctx: 512, Chunks: len(nll), NLL: mean, PPL: math.Exp(mean), ChunkNLL: [][]float64{nll}}
	}
	text := report.NewDoctorText("chat.txt", result(2.1, 2.4, 1.9, 2.2), nil)
	text.AddDonor("chat", result(2.2, 2.6, 2.1, 2.3), true)
	d := report.NewDoctor("moe.gguf", &moe.Diagnosis{Experts: 4, Mode: moe.Hidden})
	d.AddText(text)
	for _, line := range d.AnswerLines() {
		fmt.Println(line)
	}
	// Output:
	// Is the mixture better than the best of what it was made of? By text: better on 1 of 1.
	// On chat the mixture is better than its best donor, chat: perplexity 8.5849 against 9.9742, -13.9 % (95 % interval -21.5 % to -5.6 %).
}
