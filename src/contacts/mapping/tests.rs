use super::*;

fn config(text: &str) -> config::ContactSync {
    toml_edit::de::from_str(text).unwrap()
}

fn misfits(text: &str) -> Vec<(String, String)> {
    let misfits = Mapping::new(&config(text)).unwrap_err();
    misfits
        .into_iter()
        .map(|misfit| (misfit.key.join("."), misfit.problem))
        .collect()
}

fn rendered(template: &str, contact: &Value) -> Result<Value, String> {
    let mapping = Mapping::new(&config(&format!("fields.x = '''{template}'''"))).unwrap();
    let rule = mapping.fields().next().unwrap();
    rule.template
        .render_contact(&mapping, "x", contact)
        .map_err(|error| error.to_string())
}

#[test]
fn one_expression_gives_a_value_and_anything_else_a_text() {
    let contact = json!({
        "name": "Ion Popescu", "phone": "0722 123 456", "tags": ["a", "b"], "custom_fields": {"score": 7, "vip": true}
    });
    for (template, value) in [
        ("{{ contact.name }}", json!("Ion Popescu")),
        ("{{contact.tags}}", json!(["a", "b"])),
        ("{{- contact.custom_fields.score -}}", json!(7)),
        ("{{ contact.custom_fields.vip }}", json!(true)),
        ("{{ contact.custom_fields.nothing }}", json!(null)),
        ("{{ contact.custom_fields.nothing.at.all }}", json!(null)),
        ("{{ contact.email }}", json!(null)),
        ("{{ contact.phone | e164 }}", json!("+40722123456")),
        ("{{ contact.email | e164 }}", json!(null)),
        ("{{ contact.name | split(' ') | first }}", json!("Ion")),
        (
            "{{ contact.name }} ({{ contact.custom_fields.score }})",
            json!("Ion Popescu (7)"),
        ),
        ("{% if contact.custom_fields.vip %}VIP{% endif %}", json!("VIP")),
        ("chat", json!("chat")),
    ] {
        assert_eq!(rendered(template, &contact), Ok(value), "{template}");
    }
}

#[test]
fn what_contacts_say_is_never_a_template() {
    let name = "{{ 7 * 7 }} {% for x in y %} <b> \"'; DROP TABLE";
    let contact = json!({ "name": name });
    assert_eq!(rendered("{{ contact.name }}", &contact), Ok(json!(name)));
    assert_eq!(
        rendered("Dear {{ contact.name }}", &contact),
        Ok(json!(format!("Dear {name}")))
    );
}

#[test]
fn what_cannot_be_rendered_is_said_without_what_is_in_it() {
    let error = rendered("{{ contact.name | round }}", &json!({"name": "a secret"})).unwrap_err();
    assert!(error.contains("fields.x") && !error.contains("secret"), "{error}");
}

#[test]
fn fields_that_read_each_other_and_nothing_else_are_the_same() {
    let mapping = Mapping::new(&config(
        "fields.a = '{{ contact.name }}'\nfields.b = '{{ contact.phone | e164 }}'\nfields.c = '{{ contact.email }}'\n\
         fields.d = '{{ contact.custom_fields.x }}'\n\
         back.name = '{{ record.a | trim }}'\nback.phone = '{{ record.b }}'\nback.\"custom_fields.x\" = '{{ record.d }}'\n\
         back.\"custom_fields.y\" = '{{ record.e }}'",
    ))
    .unwrap();
    let pairs: Vec<(&str, Option<&str>)> = mapping
        .fields()
        .map(|rule| (rule.name.as_str(), mapping.pair_of(rule).map(|back| back.name.as_str())))
        .collect();
    assert_eq!(
        pairs,
        [
            ("a", Some("name")),
            ("b", Some("phone")),
            ("c", None),
            ("d", Some("custom_fields.x"))
        ]
    );
    assert_eq!(mapping.back().filter(|back| back.pair.is_none()).count(), 1);
}

#[test]
fn circles_are_refused() {
    for text in [
        // It would grow with every run.
        "fields.a = '{{ contact.name }} {{ contact.phone }}'\nback.name = '{{ record.a }}'",
        "fields.a = '{{ contact.name }}'\nback.name = '{{ record.a }} {{ record.b }}'",
        "fields.a = '{{ contact.name }}'\nback.phone = '{{ record.a }}'\nfields.b = '{{ contact.phone }}'\n\
         back.name = '{{ record.b }}'",
        // A pair, and a way around it.
        "fields.a = '{{ contact.name }}'\nback.name = '{{ record.a }}'\nfields.b = '{{ contact.name }}'\n\
         back.phone = '{{ record.b }}'\nfields.c = '{{ contact.phone }}'\nback.tags = '{{ record.c }}'\n\
         fields.d = '{{ contact.tags }} {{ contact.name }}'\nback.email = '{{ record.d }}'\nfields.e = '{{ contact.email }}'\n\
         back.\"custom_fields.z\" = '{{ record.e }} {{ record.d }}'\nfields.f = '{{ contact.custom_fields }}'\n\
         back.\"custom_fields.q\" = '{{ record.f }}'",
    ] {
        let told = misfits(text);
        assert!(
            told.iter()
                .any(|(key, problem)| key.starts_with("back.") && problem.contains("depends on what it writes")),
            "{text}: {told:?}"
        );
    }
    // A chain is no circle.
    let chain = "fields.a = '{{ contact.name }}'\nback.name = '{{ record.a }}'\nfields.b = '{{ contact.name }}'\n\
                 back.\"custom_fields.x\" = '{{ record.b }}'";
    assert!(Mapping::new(&config(chain)).is_ok());
}

#[test]
fn all_that_is_wrong_is_told() {
    let told = misfits(
        "key = []\ndefault_region = 'Atlantis'\nfilter = \"'lead' in kontact.tags\"\nfields.a = '{{ contact.nam }}'\n\
         fields.b = '{{ contact.name'\nback.id = '{{ record.x }}'\nback.name = '{{ contact.name }}'",
    );
    let keys: Vec<&str> = told.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "default_region",
            "key",
            "fields.a",
            "fields.b",
            "back.id",
            "back.name",
            "filter"
        ]
    );
    assert_eq!(misfits(""), [("fields".to_owned(), "maps no field".to_owned())]);
}
