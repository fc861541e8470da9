package eval

import "strings"

// subjects are those of MMLU (arXiv 2009.03300), by group.
var subjects = map[string]string{
	"stem": "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics " +
		"college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics high_school_biology " +
		"high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics high_school_statistics machine_learning",
	"other": "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics " +
		"miscellaneous nutrition professional_accounting professional_medicine virology",
	"social_sciences": "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics " +
		"high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations security_studies " +
		"sociology us_foreign_policy",
	"humanities": "formal_logic high_school_european_history high_school_us_history high_school_world_history international_law " +
		"jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions",
}

// mmlu has a task for each subject: mmlu_SUBJECT, or hendrycksTest-SUBJECT of old.
func mmlu(p *Profile) []*Task {
	var tasks []*Task
	for group, names := range subjects {
		for subject := range strings.FieldsSeq(names) {
			t := &Task{
				Name: "mmlu_" + subject, Groups: []string{"mmlu_" + group, "mmlu"}, Version: p.version("1", "1.0"),
				Data:  DataSet{Folder: "mmlu/" + subject, Hub: "cais/mmlu", Configuration: subject},
				Split: "test", ShotSplit: "dev", FirstShots: true, Metrics: []*Measure{accuracy},
				Description: "The following are multiple choice questions (with answers) about " + strings.ReplaceAll(subject, "_", " ") + ".\n\n",
				render: reads(func(row struct {
					Question string   `json:"question"`
					Choices  []string `json:"choices"`
					Answer   number   `json:"answer"`
				}) (*example, error) {
					context := strip(row.Question)
					letters := make([]string, len(row.Choices))
					for i, choice := range row.Choices {
						letters[i] = string(rune('A' + i))
						context += "\n" + letters[i] + ". " + choice
					}
					return asks(context+"\nAnswer:", int(row.Answer), letters...)
				}),
			}
			if p.old {
				t.Name, t.Groups, t.Metrics = "hendrycksTest-"+subject, []string{"hendrycksTest", "openllm"}, []*Measure{accuracy, normalized}
			} else {
				t.Groups = append(t.Groups, "openllm")
			}
			tasks = append(tasks, t)
		}
	}
	return tasks
}
