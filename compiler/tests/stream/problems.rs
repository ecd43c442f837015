//! Who asks about a namespace is told of nothing else.

use flock_compiler::service::Limits;
use flock_compiler::source::SourceEvent;
use flock_compiler_core::{Consequence, Problem};
use flock_proto::v1::ListProblemsRequest;
use flock_proto::v1::debug_service_client::DebugServiceClient;
use flock_shared::NamespaceName;
use tonic::Code;

use super::compiler::{Compiler, patiently};

fn problem(object: &str, namespace: Option<&str>) -> Problem {
    Problem {
        object: object.to_owned(),
        namespace: namespace.map(|name| NamespaceName::new(name).unwrap()),
        origin: Some("kubernetes".into()),
        field: "spec".to_owned(),
        message: "is wrong".to_owned(),
        consequence: Consequence::Isolated,
    }
}

#[tokio::test(start_paused = true)]
async fn problems_are_listed_by_namespace() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let problems = vec![
        problem("NetworkPolicy bank/web", Some("bank")),
        // What an object is called is not where it is.
        problem("NetworkPolicy bank/shop", Some("shop")),
        problem("", None),
    ];
    compiler.tell(SourceEvent::Report { input: "test".into(), problems }).await;
    let mut client = DebugServiceClient::new(compiler.dial().await.0);
    let mut list = async |namespace: &str| {
        let request = ListProblemsRequest { namespace: namespace.to_owned() };
        let listed = patiently(client.list_problems(request)).await?.into_inner().problems;
        Ok::<_, tonic::Status>(listed.into_iter().map(|problem| problem.object).collect::<Vec<_>>())
    };
    while list("").await.unwrap().len() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(list("shop").await.unwrap(), ["NetworkPolicy bank/shop"]);
    assert_eq!(list("bank").await.unwrap(), ["NetworkPolicy bank/web"]);
    let nowhere = list("elsewhere").await.unwrap_err();
    assert_eq!((nowhere.code(), nowhere.message()), (Code::NotFound, "no namespace \"elsewhere\""));
    assert_eq!(list("No Namespace").await.unwrap_err().code(), Code::InvalidArgument);
}
