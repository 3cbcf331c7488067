"""The one total order of each package's children: an import runs only to a child listed before its own.

A new module gets its place here. `__init__` is listed where it imports its package's children; elsewhere it imports
none of them and comes first.
"""

ORDER = {
    "autokd": (
        "errors core client config data distillation training teachers optimizers database evaluation export tracking "
        "searches analysis recipes testing __init__ service cli __main__"
    ),
    "autokd.core": (
        "seeds rng spelling repeating extras hub files depot console cache_folder disk speed device references"
    ),
    "autokd.client": "client __init__",
    "autokd.config": (
        "section distinct numbers names budget objectives learn_from tracking compatibility fidelity_metrics flat "
        "ranges distillation data teacher panel workers schema json_schema messages parsing toml"
    ),
    "autokd.data": "dataset channels prefetch augmentation mixup stream decoding sources registry",
    "autokd.data.decoding": "pictures undecoded mapped decode",
    "autokd.data.sources": "arrays digits fashion_mnist folder map_style hugging_face",
    "autokd.distillation": (
        "recruits base checks maps layers feature_extractor layer_similarity teacher_copy methods wrappers panels "
        "pruning distiller registry __init__"
    ),
    "autokd.distillation.methods": (
        "kd dkd nkd mlld bdkd bdkd_online dml sokd ttm rld sld abkd ldrld crld dist similarity rkd attention fitnet "
        "hints review multi_step modality crd"
    ),
    "autokd.distillation.panels": "base takd dgkd ces ensemble weights",
    "autokd.distillation.wrappers": "combined in_turn standardise early_stopping continuation ctkd",
    "autokd.training": (
        "class_metrics metrics schedules timetable averaged_weights best_checkpoint width_scaling muon loop "
        "checkpoint selection supervised"
    ),
    "autokd.teachers": (
        "factories preparation memory_format logits weights fingerprint onnx teacher graph kept_channels "
        "principal_channels slim_copy cost features outputs validation precomputed registry from_python process_cache "
        "training_plan training pruned panel"
    ),
    "autokd.teachers.factories": "mended base timm torchvision transformers registry",
    "autokd.teachers.outputs": "key shapes cache reader disk_budget",
    "autokd.optimizers": (
        "errors arrays space reports expected_improvement hypervolume trust_region changes halving history archive "
        "earlier models acquisition proposal trust_region_sampler gain importance registry __init__"
    ),
    "autokd.optimizers.space": "coordinates union encoding conditions features",
    "autokd.optimizers.models": (
        "outcome_transforms gaussian_process surrogate prior_mean study_model posterior signal_to_noise"
    ),
    "autokd.optimizers.acquisition": "functions botorch candidates optimisation portfolio",
    "autokd.database": (
        "errors rows types models owner row_checks engine outages schema reading summaries statements writing store "
        "lease lease_keeper queue removal"
    ),
    "autokd.evaluation": (
        "context prune warm_start precompute task networks panel_outputs distillation_stream log evaluate remote"
    ),
    "autokd.export": "module check manifest archive preprocess verification replacement card folder upload",
    "autokd.tracking": "tracker mlflow tensorboard wandb following",
    "autokd.searches": (
        "lengths earlier own_code panel_facts facts workspace data_from_python trial_record part method_choice "
        "references under_way times progress tables event_lines study choices warm_start_source problem retention "
        "reporter recall printer proposals state families flatness stopping students comparison assistants axes "
        "remarks pareto bottleneck dispatcher session controller asking pace speed manifest panel_check method_check "
        "preflight panel_stage retraining retry deletion garbage backup recorded result findings watching api damage "
        "doctor"
    ),
    "autokd.analysis": (
        "rung_correlations plain_values status_facts trial_facts evidence scales style history correlation importances "
        "where parallel curves plots inline_svg templating report optuna_study"
    ),
    "autokd.recipes": "catalogue teachers runnable train_teacher",
    "autokd.testing": "tasks toys draws executors methods optimizers spaces",
    "autokd.cli": (
        "damage interruption output options within reporting draw plot report study check delete gc stop retry doctor "
        "exports teach axes best searches show watch pareto winner pictures backup upkeep serving serve app "
        "__init__"
    ),
    "autokd.service": (
        "registered settings tokens refusals guard bodies audit quota files remembered schemas reading watching logs "
        "artefacts changing queueing pages metrics health app run supervisor server"
    ),
    "autokd.service.pages": "rendering shell fragments form",
    "search_spaces": "errors architecture networks design drawing spaces blueprint space",
    "search_spaces.architecture": (
        "layers building patterns operations memory schedule digest networkx_form format cost folding"
    ),
    "search_spaces.networks": "activation_memory kernels modules merging initialisation network source reading traced",
    "search_spaces.networks.kernels": "library bindings batch_norm convolution pooling",
    "search_spaces.design": (
        "stems dimensions graphs budget widths counting blueprint open_graph wiring repair space choice envelope "
        "registry"
    ),
    "search_spaces.drawing": "layout picture",
    "search_spaces.spaces": (
        "blocks like_teacher cells two_input_cells nago random_stages randwire networkx_graphs sequential enas_macro "
        "enas_micro darts nasbench101 nasbench201"
    ),
    "workers": "errors base inline worker_process lanes local hosted dask ray simulated registry",
}
