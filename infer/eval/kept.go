package eval

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/results"
)

// keptAnswer is an Answer as it is kept. Text is any bytes.
type keptAnswer struct {
	Log    float64 `json:"ll"`
	Greedy bool    `json:"greedy,omitempty"`
	Text   []byte  `json:"text,omitempty"`
	Tokens int     `json:"tokens,omitempty"`
}

// recall takes over the answers that are kept, and leaves out the documents that others have to ask.
func (r *run) recall(ctx context.Context) (err error) {
	if r.opts.Lines != nil {
		return r.opts.Lines.recall(r)
	}
	if r.opts.Results == nil {
		return nil
	}
	if r.store, err = r.opts.Results.Open(ctx, "eval", len(r.docs), r.facts()...); err != nil {
		return err
	}
	missing := make(map[int]bool)
	for _, unit := range r.store.Missing() {
		missing[unit] = true
	}
	for unit, a := range r.docs {
		if missing[unit] {
			continue
		}
		a.left = 0
		if !r.store.Has(unit) {
			a.elsewhere = true
			r.elsewhere++
			continue
		}
		data, _, err := r.store.Get(unit)
		if err != nil {
			return err
		}
		if err := a.read(data); err != nil {
			return r.store.Corrupt(unit, fmt.Errorf("%s, document %d: %w", a.task.Name, a.number, err))
		}
		r.done++
	}
	return nil
}

// read takes over what was kept of a document's answers.
func (a *asked) read(data []byte) error {
	var kept [][]keptAnswer
	if err := json.Unmarshal(data, &kept); err != nil {
		return err
	}
	if len(kept) != len(a.answers) {
		return fmt.Errorf("answers of %d models, not of %d", len(kept), len(a.answers))
	}
	for m, answers := range kept {
		if len(answers) != len(a.requests) {
			return fmt.Errorf("%d answers to %d requests", len(answers), len(a.requests))
		}
		for i, answer := range answers {
			a.answers[m][i] = Answer{answer.Log, answer.Greedy, string(answer.Text), answer.Tokens}
		}
	}
	return nil
}

// kept returns what is kept of a document's answers.
func (a *asked) kept() ([]byte, error) {
	kept := make([][]keptAnswer, len(a.answers))
	for m, answers := range a.answers {
		kept[m] = make([]keptAnswer, len(answers))
		for i, answer := range answers {
			kept[m][i] = keptAnswer{answer.Log, answer.Greedy, []byte(answer.Text), answer.Tokens}
		}
	}
	return json.Marshal(kept)
}

// keep keeps the answers of a document.
func (r *run) keep(a *asked) error {
	switch {
	case r.opts.Lines != nil:
		return r.opts.Lines.keep(a)
	case r.store == nil:
		return nil
	}
	data, err := a.kept()
	if err != nil {
		return err
	}
	return r.store.Keep(results.Record{Unit: a.unit, Data: data})
}

// finish says whether there are answers to all.
func (r *run) finish() error {
	if r.store == nil {
		return nil
	}
	return r.store.Finish()
}

// close ends the keeping, after an error or none.
func (r *run) close(err error) error {
	if r.store == nil {
		return err
	}
	return errors.Join(err, r.store.Close())
}

// facts tells all that is asked from anything else, task by task.
func (r *run) facts() []gguf.Fact {
	var facts []gguf.Fact
	var sum hash.Hash
	docs := 0
	for i, a := range r.docs {
		if docs++; sum == nil {
			sum = sha256.New()
		}
		fmt.Fprintf(sum, "%d\n", a.number)
		for i, e := range a.encoded {
			fmt.Fprintf(sum, "%d %d %d %v %v %v\n", a.requests[i].kind, e.lost, e.most, e.requests, e.prompt, a.example.generate)
		}
		if i == len(r.docs)-1 || r.docs[i+1].task != a.task {
			facts = append(facts, gguf.Fact{What: "task " + a.task.Name, Is: fmt.Sprintf("%d documents, SHA-256 of what is asked %x", docs, sum.Sum(nil))})
			docs, sum = 0, nil
		}
	}
	return facts
}
