package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/infer/score"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// Options says how a profile's rules are followed.
type Options struct {
	Prompts
	// BOS says whether texts begin with a BOS token; nil is as the profile has it.
	BOS *bool
	// MaxLength is how many tokens the model sees; 0 is what it was made for.
	MaxLength int
	// MaxTokens is how many tokens are generated where the task does not say; 0 is 256.
	MaxTokens int
	// LogSamples keeps what was asked and answered.
	LogSamples bool
	// Results, if not nil, is where the answers to each document are kept. Documents that are there are not asked again. The error is
	// a *results.Partial if some are missing then that others have to ask.
	Results *results.Place
	// Lines, if not nil, is where they are kept instead: a file.
	Lines *Lines
	// Progress, if not nil, is called when a document is done, with the number of those and of all.
	Progress func(done, total int, score Running)
}

// Running is what is known of the score of the first model while a run goes on: the mean of all documents so far.
type Running struct {
	Mean   float64
	Stderr float64 // NaN of one document
}

// Evaluation is what models make of tasks.
type Evaluation struct {
	BOS       bool
	MaxLength int
	Models    []Model // as they were given
}

// Model is what one makes of the tasks, and how it differs from the first.
type Model struct {
	Results  []Result
	Groups   []Group
	Averages map[string]float64
	Paired   []Paired // nil of the first
}

// Run evaluates forms of one model on tasks.
func (p *Profile) Run(ctx context.Context, models []*infer.Model, vocab *tokenizer.Tokenizer, selections []Selection, data *Data, opts Options) (*Evaluation, error) {
	e := &encoder{profile: p, vocab: vocab, told: opts.BOS, maxLength: opts.MaxLength, maxTokens: opts.MaxTokens}
	e.bos = !p.old && vocab.AddsBOS()
	if opts.BOS != nil {
		e.bos = *opts.BOS
	}
	r := &run{encoder: e, models: models, opts: opts}
	for _, s := range selections {
		docs, err := p.documents(ctx, s, data, opts.Prompts)
		if err != nil {
			return nil, err
		}
		if len(docs) == 0 {
			return nil, fmt.Errorf("%s: there are no documents to evaluate", s.Task.Name)
		}
		if err := r.add(docs); err != nil {
			return nil, err
		}
	}
	if err := r.close(r.answer(ctx)); err != nil {
		return nil, err
	}
	return r.evaluation(selections)
}

// answer finds the answers to all.
func (r *run) answer(ctx context.Context) error {
	if err := r.recall(ctx); err != nil {
		return err
	}
	if err := r.likelihoods(ctx); err != nil {
		return err
	}
	if err := r.generate(ctx); err != nil {
		return err
	}
	return r.finish()
}

// run is a run under way.
type run struct {
	*encoder
	models []*infer.Model
	opts   Options
	docs   []*asked
	done   int

	store     *results.Store // or nil
	elsewhere int            // documents that others ask
}

// asked is a document with the answers so far.
type asked struct {
	*document
	encoded []*encoded
	answers [][]Answer // of each model, to each request
	left    int        // parts of requests that are not answered, by all models

	unit      int
	elsewhere bool // another part of the run has its answers
}

// Answer is what a model says to a request.
type Answer struct {
	Log    float64
	Greedy bool
	Text   string
	Tokens int // generated
}

func (r *run) add(docs []*document) error {
	for _, d := range docs {
		a := &asked{document: d, answers: make([][]Answer, len(r.models)), unit: len(r.docs)}
		all, err := r.document(d)
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", d.task.Name, d.number, err)
		}
		a.encoded = all
		for i, e := range all {
			a.left += max(1, len(e.requests))
			if d.requests[i].kind == generated {
				a.left += len(r.models) - 1 // they answer one by one
			}
		}
		for m := range a.answers {
			a.answers[m] = make([]Answer, len(d.requests))
			for i := range d.requests {
				a.answers[m][i].Greedy = true
			}
		}
		r.docs = append(r.docs, a)
	}
	return nil
}

// answered is called when a part of a document's requests was.
func (r *run) answered(a *asked) error {
	if a.left--; a.left > 0 {
		return nil
	}
	r.done++
	if err := r.keep(a); err != nil {
		return err
	}
	if r.opts.Progress != nil {
		r.opts.Progress(r.done, len(r.docs)-r.elsewhere, r.running())
	}
	return nil
}

// running is the score of the first model so far.
func (r *run) running() Running {
	var values []float64
	for _, a := range r.docs {
		if m := a.task.Metrics[a.task.Score]; a.left == 0 && !a.elsewhere && m.total == nil {
			values = append(values, m.of(a.example, a.outcome(0)))
		}
	}
	if len(values) == 0 {
		return Running{}
	}
	running := Running{Mean: mean(values)}
	if e := standardError(values); e != nil {
		running.Stderr = *e
	}
	return running
}

// likelihoods has all models answer what can be answered side by side.
func (r *run) likelihoods(ctx context.Context) error {
	type part struct {
		of      *asked
		request int
	}
	var requests []score.Request
	var parts []part
	for _, a := range r.docs {
		if a.left == 0 {
			continue
		}
		for i, e := range a.encoded {
			for _, request := range e.requests {
				requests, parts = append(requests, request), append(parts, part{a, i})
			}
		}
	}
	// Each part is kept until all of its request are there, so that they are summed in their order.
	logs := make([][]score.Likelihood, len(requests))
	first := make(map[part]int)
	waiting := make(map[part]int)
	for i, p := range parts {
		if _, ok := first[p]; !ok {
			first[p] = i
		}
		waiting[p]++
	}
	answer := func(i int, of []score.Likelihood) error {
		logs[i] = of
		p := parts[i]
		if waiting[p]--; waiting[p] == 0 {
			for j := first[p]; j < len(parts) && parts[j] == p; j++ {
				for m, l := range logs[j] {
					answer := &p.of.answers[m][p.request]
					answer.Log += l.Log
					answer.Greedy = answer.Greedy && l.Greedy
				}
				logs[j] = nil
			}
		}
		return r.answered(p.of)
	}
	for start, end := 0, 0; start < len(requests); start = end {
		end = len(requests)
		if r.opts.Results != nil || r.opts.Lines != nil {
			end = start + round(requests[start:])
		}
		err := score.Likelihoods(ctx, r.models, requests[start:end], func(i int, of []score.Likelihood) error { return answer(start+i, of) })
		if err != nil {
			return err
		}
	}
	return nil
}

// roundTokens is how many tokens are computed before answers are kept, where memory has room for more: a kill costs no more, and what
// requests have in common is so little of it that it may be computed again.
const roundTokens = 16 << 10

// round returns how many requests, at least one, are answered together if answers are kept.
func round(requests []score.Request) int {
	tokens := len(requests[0].Context)
	for i, r := range requests[1:] {
		common := 0
		for before := requests[i].Context; common < min(len(r.Context), len(before)) && r.Context[common] == before[common]; {
			common++
		}
		if tokens += len(r.Context) - common + len(r.Continuation); tokens > roundTokens {
			return i + 1
		}
	}
	return len(requests)
}

// generate has each model in turn continue what is to be continued.
func (r *run) generate(ctx context.Context) error {
	for m, model := range r.models {
		var prompts []score.Prompt
		var of []*asked
		var number []int
		for _, a := range r.docs {
			for i, e := range a.encoded {
				if a.requests[i].kind == generated && a.left > 0 {
					prompts, of, number = append(prompts, r.prompt(e, a.example.generate)), append(of, a), append(number, i)
				}
			}
		}
		err := score.Continuations(ctx, model, prompts, func(i int, tokens []int32) error {
			a := of[i]
			e := a.encoded[number[i]]
			a.answers[m][number[i]] = Answer{Text: r.text(tokens, e, a.example.generate), Tokens: len(tokens)}
			return r.answered(a)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// outcome is what a model makes of a document.
func (a *asked) outcome(model int) *outcome {
	o := &outcome{}
	for i, answer := range a.answers[model] {
		if a.requests[i].kind == generated {
			o.text = answer.Text
		} else {
			o.likelihoods, o.greedy = append(o.likelihoods, answer.Log), append(o.greedy, answer.Greedy)
		}
		if a.task.encode != nil {
			o.tokens = append(o.tokens, a.encoded[i].continuation)
		}
	}
	return o
}

// evaluation computes the figures of all answers.
func (r *run) evaluation(selections []Selection) (*Evaluation, error) {
	result := &Evaluation{BOS: r.bos, MaxLength: r.maxLength, Models: make([]Model, len(r.models))}
	for m := range r.models {
		model := &result.Models[m]
		rest := r.docs
		var changed [][]bool
		for _, s := range selections {
			n := slices.IndexFunc(rest, func(a *asked) bool { return a.task != s.Task })
			if n < 0 {
				n = len(rest)
			}
			docs, outcomes, other := make([]*document, n), make([]*outcome, n), make([]bool, n)
			for i, a := range rest[:n] {
				docs[i], outcomes[i] = a.document, a.outcome(m)
				other[i] = differs(a.outcome(0), outcomes[i])
			}
			one := s.result(docs, outcomes)
			if r.opts.LogSamples {
				for i, a := range rest[:n] {
					one.Samples = append(one.Samples, a.sample(m, i, &one))
				}
			}
			model.Results = append(model.Results, one)
			changed = append(changed, other)
			rest = rest[n:]
		}
		if len(rest) > 0 {
			return nil, errors.New("eval: documents of no task")
		}
		model.Groups, model.Averages = r.profile.groups(model.Results), r.profile.averages(model.Results)
		if m > 0 {
			model.Paired = r.profile.paired(result.Models[0].Results, model.Results, changed)
		}
	}
	return result, nil
}

// differs reports whether two outcomes are different answers.
func differs(a, b *outcome) bool {
	if len(a.likelihoods) > 1 {
		return a.pick() != b.pick()
	}
	return a.text != b.text
}

// sample tells what was asked, and what the model of these results answered.
func (a *asked) sample(model, index int, of *Result) Sample {
	s := Sample{Doc: a.number, Metrics: make(map[string]float64)}
	pairs := 0
	for i, answer := range a.answers[model] {
		s.Requests = append(s.Requests, a.sampleRequest(i, answer))
		if a.requests[i].kind == pair {
			pairs++
		}
	}
	o := a.outcome(model)
	if pairs > 0 {
		pick := o.pick()
		s.Pick = &pick
	}
	switch gold := a.example.gold; {
	case len(gold) == 1:
		s.Gold = gold[0]
	case len(gold) > 1:
		s.Gold = gold
	case a.example.generate != nil:
		s.Gold = a.example.generate.want
	}
	for j, m := range of.Metrics {
		s.Metrics[m.Label()] = m.values[index]
		if extract := of.task.Metrics[j].extract; extract != nil {
			if s.Filters == nil {
				s.Filters = make(map[string]string)
			}
			s.Filters[m.Filter] = extract(o.text)
		}
	}
	return s
}

func (a *asked) sampleRequest(i int, answer Answer) SampleRequest {
	r, e := a.requests[i], a.encoded[i]
	sum := sha256.Sum256([]byte(r.context))
	hash := hex.EncodeToString(sum[:])
	switch r.kind {
	case generated:
		return SampleRequest{ContextSHA256: hash, ContextTokens: e.context, FedTokens: e.fed, NewTokens: &answer.Tokens, Text: &answer.Text}
	case rolled:
		return SampleRequest{TextSHA256: hash, LogLikelihood: &answer.Log}
	}
	return SampleRequest{
		ContextSHA256: hash, Continuation: &r.continuation, ContextTokens: e.context, ContinuationTokens: e.continuation, FedTokens: e.fed,
		LogLikelihood: &answer.Log, Greedy: &answer.Greedy,
	}
}
